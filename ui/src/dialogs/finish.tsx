import { useState } from "preact/hooks";
import { api } from "../api/client";
import { changeAndRead } from "../state/change";
import { changeObject, isStarting, workedOn } from "../state/actions";
import { current } from "../state/session";
import * as s from "../state/store";
import { Dialog, lineOf, Problem } from "./dialog";

let lastLabel = "";

/** F: names the object that was just pointed at and lets the next click start another. */
export function FinishDialog() {
  const object = s.activeObject.value;
  const [label, setLabel] = useState(object?.label || lastLabel);
  const [typedId, setId] = useState<string | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  // The mask of a first click may still be on its way; its name can be typed meanwhile.
  if (!object && !isStarting()) return null;
  const id = typedId ?? String(object?.id ?? "");
  const save = async (event: Event) => {
    event.preventDefault();
    setProblem(null);
    const own = await workedOn();
    if (own === null) return setProblem("The click did not make an object. Close this and click again.");
    const to = typedId === null ? own : Number(typedId);
    if (!Number.isInteger(to) || to < 1) return setProblem("The id is a whole number from 1 on.");
    const name = label.trim();
    if (name !== (object?.label ?? "") && !(await changeObject(own, { label: name }))) return;
    if (to !== own) {
      try {
        await changeAndRead((v) => api.edit(v, { kind: "change_id", object_id: own, to }, false), { tell: false });
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
