import { useState } from "preact/hooks";
import { api } from "../api/client";
import { lineOf, Problem } from "../dialogs/dialog";
import * as s from "../state/store";
import { Icon } from "./icons";

/** Where the server asks for a key. The server keeps it as a cookie that scripts cannot read. */
export function Login({ onDone }: { onDone: () => void }) {
  const [key, setKey] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const enter = async (event: Event) => {
    event.preventDefault();
    try {
      await api.login(key);
      s.needsKey.value = false;
      onDone();
    } catch (error) {
      setProblem(lineOf(error));
    }
  };
  return (
    <main class="welcome">
      <form class="card form" onSubmit={enter}>
        <h1>
          <Icon name="lock" size={22} /> This server asks for a key
        </h1>
        <label>
          Key
          <input
            type="password"
            value={key}
            autocomplete="current-password"
            autofocus
            onInput={(e) => setKey(e.currentTarget.value)}
          />
        </label>
        <Problem text={problem} />
        <div class="buttons">
          <button type="submit" class="button accent" disabled={!key}>
            Enter
          </button>
        </div>
      </form>
    </main>
  );
}
