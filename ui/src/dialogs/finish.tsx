import { useState } from "preact/hooks";
import { api } from "../api/client";
import { changeAndRead } from "../state/change";
import { changeObject } from "../state/actions";
import { current } from "../state/session";
import * as s from "../state/store";
import { Dialog, lineOf, Problem } from "./dialog";

let lastLabel = "";

/** F: names the object that was just pointed at and lets the next click start another. */
export function FinishDialog() {
  const object = s.activeObject.value;
  const [label, setLabel] = useState(object?.label || lastLabel);
  const [id, setId] = useState(String(object?.id ?? ""));
  const [problem, setProblem] = useState<string | null>(null);
  if (!object) return null;
  const save = async (event: Event) => {
    event.preventDefault();
    setProblem(null);
    const to = Number(id);
    if (!Number.isInteger(to) || to < 1) return setProblem("The id is a whole number from 1 on.");
    const name = label.trim();
    if (name !== object.label && !(await changeObject(object.id, { label: name }))) return;
    if (to !== object.id) {
      try {
        await changeAndRead((v) => api.edit(v, { kind: "change_id", object_id: object.id, to }, false), false);
        current()?.masks.stale(null);
      } catch (error) {
        return setProblem(lineOf(error));
      }
    }
    lastLabel = name;
    s.active.value = null;
    s.dialog.value = null;
    s.say(`Finished ${name || "object"} ${to}. The next click starts a new object; M tracks.`);
  };
  return (
    <Dialog title="Finish object">
      <form class="form" onSubmit={save}>
        <label>
          Label
          <input
            data-first
            list="known-labels"
            value={label}
            maxLength={120}
            onInput={(e) => setLabel(e.currentTarget.value)}
            onFocus={(e) => e.currentTarget.select()}
            autocomplete="off"
          />
        </label>
        <label>
          Id
          <input class="narrow" type="number" min="1" value={id} onInput={(e) => setId(e.currentTarget.value)} />
        </label>
        <Problem text={problem} />
        <div class="buttons">
          <button type="button" class="button" onClick={() => (s.dialog.value = null)}>
            Back to it
          </button>
          <button type="submit" class="button accent">
            Finish
          </button>
        </div>
      </form>
    </Dialog>
  );
}
