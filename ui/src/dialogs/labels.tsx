import { useState } from "preact/hooks";
import type { Edit, TrackedObject } from "../api/types";
import { IconButton } from "../parts/icons";
import * as s from "../state/store";
import { Dialog, lineOf, Problem } from "./dialog";
import { Apply, make, RangeFields } from "./edits";

type Plan = { kind: "relabel"; label: string; to: string } | { kind: "delete_label"; label: string };

/** Alt+L: everything that is done to all objects of one label. */
export function LabelsDialog() {
  const [plan, setPlan] = useState<Plan | null>(null);
  const [range, setRange] = useState<[number, number] | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const byLabel = new Map<string, TrackedObject[]>();
  for (const object of s.objects.value) {
    const label = object.label ?? "";
    byLabel.set(label, [...(byLabel.get(label) ?? []), object]);
  }
  const where = range ? { start: range[0], stop: range[1] } : {};
  const edit: Edit | null =
    plan?.kind === "relabel" && plan.to.trim() && plan.to.trim() !== plan.label
      ? { kind: "relabel", from_label: plan.label || null, to_label: plan.to.trim(), ...where }
      : plan?.kind === "delete_label"
        ? { kind: "delete_label", label: plan.label || null, ...where }
        : null;
  const now = async (change: Edit) => {
    setProblem(null);
    try {
      await make(change, false);
    } catch (error) {
      setProblem(lineOf(error));
    }
  };
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
                        value={members[0]?.colour ?? "#888888"}
                        onChange={(e) =>
                          void now({ kind: "colour_label", label: label || null, colour: e.currentTarget.value })
                        }
                      />
                    </td>
                    <td>
                      <IconButton
                        icon={hidden ? "eyeOff" : "eye"}
                        label={hidden ? `Show all ${shown}` : `Hide all ${shown}`}
                        pressed={hidden}
                        class="small"
                        onClick={() => void now({ kind: "hide_label", label: label || null, hidden: !hidden })}
                      />
                    </td>
                    <td>
                      <IconButton
                        icon={locked ? "lock" : "unlock"}
                        label={locked ? `Unlock all ${shown}` : `Lock all ${shown}`}
                        pressed={locked}
                        class="small"
                        onClick={() => void now({ kind: "lock_label", label: label || null, locked: !locked })}
                      />
                    </td>
                    <td>
                      <IconButton
                        icon="trash"
                        label={`Delete all ${shown}`}
                        disabled={locked}
                        pressed={plan?.kind === "delete_label" && plan.label === label}
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
      <Problem text={problem} />
      <div class="dialog-foot">
        <div class="where">
          <span>{plan?.kind === "delete_label" ? "Delete" : "Rename"}</span>
          <RangeFields value={range} onChange={setRange} />
        </div>
        <Apply
          edit={edit}
          verb={plan?.kind === "delete_label" ? "Delete" : "Rename"}
          danger={plan?.kind === "delete_label"}
          onDone={() => setPlan(null)}
        />
      </div>
    </Dialog>
  );
}
