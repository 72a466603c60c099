import { useState } from "preact/hooks";
import type { Edit, TrackedObject } from "../api/types";
import { IconButton } from "../parts/icons";
import * as s from "../state/store";
import { Dialog } from "./dialog";
import { Apply, RangeFields } from "./edits";

type Plan =
  | { kind: "relabel"; label: string; to: string }
  | { kind: "delete_label"; label: string }
  | { kind: "colour_label"; label: string; colour: string }
  | { kind: "hide_label"; label: string; hidden: boolean }
  | { kind: "lock_label"; label: string; locked: boolean };

function editOf(plan: Plan | null, range: [number, number] | null): Edit | null {
  if (!plan) return null;
  const where = range ? { start: range[0], stop: range[1] } : {};
  const label = plan.label || null;
  if (plan.kind !== "relabel") return { ...plan, label, ...where };
  const to = plan.to.trim();
  return to && to !== plan.label ? { kind: "relabel", from_label: label, to_label: to, ...where } : null;
}

function verbOf(plan: Plan | null): string {
  if (plan?.kind === "delete_label") return "Delete";
  if (plan?.kind === "colour_label") return "Colour";
  if (plan?.kind === "hide_label") return plan.hidden ? "Hide" : "Show";
  if (plan?.kind === "lock_label") return plan.locked ? "Lock" : "Unlock";
  return "Rename";
}

/** Alt+L: everything that is done to all objects of one label. */
export function LabelsDialog() {
  const [plan, setPlan] = useState<Plan | null>(null);
  const [range, setRange] = useState<[number, number] | null>(null);
  const byLabel = new Map<string, TrackedObject[]>();
  for (const object of s.objects.value) {
    const label = object.label ?? "";
    byLabel.set(label, [...(byLabel.get(label) ?? []), object]);
  }
  const edit = editOf(plan, range);
  const chosen = (kind: Plan["kind"], label: string) => plan?.kind === kind && plan.label === label;
  return (
    <Dialog title="Labels" wide>
      {byLabel.size === 0 ? (
        <p class="dim">No objects yet, so no labels.</p>
      ) : (
        <table>
          <thead>
            <tr>
              <th>Label</th>
              <th>Objects</th>
              <th>New label</th>
              <th>Colour</th>
              <th>Hide</th>
              <th>Lock</th>
              <th>Delete</th>
            </tr>
          </thead>
          <tbody>
            {[...byLabel]
              .sort(([a], [b]) => a.localeCompare(b))
              .map(([label, members], i) => {
                const hidden = members.every((o) => o.hidden);
                const locked = members.every((o) => o.locked);
                const shown = label || "(no label)";
                return (
                  <tr key={label} class={plan?.label === label ? "chosen" : ""}>
                    <th scope="row">{shown}</th>
                    <td class="dim">
                      {members.length === 1 ? "id" : `${members.length}, ids`} {members.map((o) => o.id).join(", ")}
                    </td>
                    <td>
                      <input
                        {...(i === 0 ? { "data-first": true } : {})}
                        aria-label={`New label for ${shown}`}
                        placeholder={shown}
                        list="known-labels"
                        maxLength={120}
                        disabled={locked}
                        value={plan?.kind === "relabel" && plan.label === label ? plan.to : ""}
                        onInput={(e) => setPlan({ kind: "relabel", label, to: e.currentTarget.value })}
                      />
                    </td>
                    <td>
                      <input
                        type="color"
                        aria-label={`Colour of all ${shown}`}
                        value={
                          plan?.kind === "colour_label" && plan.label === label
                            ? plan.colour
                            : (members[0]?.colour ?? "#888888")
                        }
                        onChange={(e) => setPlan({ kind: "colour_label", label, colour: e.currentTarget.value })}
                      />
                    </td>
                    <td>
                      <IconButton
                        icon={hidden ? "eyeOff" : "eye"}
                        label={hidden ? `Show all ${shown}` : `Hide all ${shown}`}
                        pressed={hidden}
                        class={`small ${chosen("hide_label", label) ? "chosen" : ""}`}
                        onClick={() => setPlan({ kind: "hide_label", label, hidden: !hidden })}
                      />
                    </td>
                    <td>
                      <IconButton
                        icon={locked ? "lock" : "unlock"}
                        label={locked ? `Unlock all ${shown}` : `Lock all ${shown}`}
                        pressed={locked}
                        class={`small ${chosen("lock_label", label) ? "chosen" : ""}`}
                        onClick={() => setPlan({ kind: "lock_label", label, locked: !locked })}
                      />
                    </td>
                    <td>
                      <IconButton
                        icon="trash"
                        label={`Delete all ${shown}`}
                        disabled={locked}
                        pressed={chosen("delete_label", label)}
                        class="small danger"
                        onClick={() => setPlan({ kind: "delete_label", label })}
                      />
                    </td>
                  </tr>
                );
              })}
          </tbody>
        </table>
      )}
      <div class="dialog-foot">
        <div class="where">
          <span>{verbOf(plan)}</span>
          <RangeFields value={range} onChange={setRange} />
        </div>
        <Apply edit={edit} verb={verbOf(plan)} danger={plan?.kind === "delete_label"} onDone={() => setPlan(null)} />
      </div>
    </Dialog>
  );
}
