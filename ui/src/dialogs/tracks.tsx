import { useState } from "preact/hooks";
import type { Edit } from "../api/types";
import * as s from "../state/store";
import { Dialog } from "./dialog";
import { Apply, RangeFields } from "./edits";

type Kind = "change_id" | "merge" | "split" | "swap" | "delete_range";
const KINDS: [Kind, string, string][] = [
  ["change_id", "Change id", "Gives a track another number."],
  ["merge", "Merge", "Makes one track of two that are the same thing."],
  ["split", "Split", "Cuts a track in two at a frame; the second part gets a new number."],
  ["swap", "Swap", "Exchanges two tracks from a frame on, where they were mixed up."],
  ["delete_range", "Delete in frames", "Removes a track's masks in a range."],
];
const VERBS: Record<Kind, string> = {
  change_id: "Change id",
  merge: "Merge",
  split: "Split",
  swap: "Swap",
  delete_range: "Delete",
};

function ObjectChoice({
  label,
  value,
  onChange,
  except,
}: {
  label: string;
  value: number | null;
  onChange: (id: number | null) => void;
  except?: number | null;
}) {
  return (
    <label>
      {label}
      <select
        value={value === null ? "" : String(value)}
        onChange={(e) => onChange(e.currentTarget.value ? Number(e.currentTarget.value) : null)}
      >
        <option value="">choose …</option>
        {s.objects.value
          .filter((o) => o.id !== except)
          .map((o) => (
            <option key={o.id} value={o.id}>
              {o.label || "object"} {o.id}
            </option>
          ))}
      </select>
    </label>
  );
}

/** Alt+G: identities. Each change says what it touches before it is made. */
export function TracksDialog() {
  const [kind, setKind] = useState<Kind>("merge");
  const [a, setA] = useState<number | null>(s.active.peek());
  const [b, setB] = useState<number | null>(null);
  const [to, setTo] = useState("");
  const [keep, setKeep] = useState<"into" | "from" | "union">("into");
  const [frame, setFrame] = useState(s.frame.peek());
  const [bounded, setBounded] = useState<number | null>(null);
  const [range, setRange] = useState<[number, number]>(s.range.peek() ?? [s.frame.peek(), s.frameCount.peek()]);
  const two = a !== null && b !== null && a !== b;
  const edit: Edit | null =
    a === null
      ? null
      : kind === "change_id"
        ? Number.isInteger(Number(to)) && Number(to) > 0 && Number(to) !== a
          ? { kind, object_id: a, to: Number(to) }
          : null
        : kind === "merge"
          ? two
            ? { kind, object_id: a, into: b as number, keep }
            : null
          : kind === "split"
            ? frame > 0 // nothing comes before the first frame
              ? { kind, object_id: a, frame }
              : null
            : kind === "swap"
              ? two
                ? { kind, a, b: b as number, start: frame, ...(bounded === null ? {} : { stop: bounded }) }
                : null
              : { kind, object_id: a, start: range[0], stop: range[1] };
  const reset = () => {
    setA(null);
    setB(null);
    setTo("");
  };
  const frameField = (label: string) => (
    <label>
      {label}
      <span class="row">
        <input
          type="number"
          class="narrow"
          min="0"
          max={s.frameCount.value - 1}
          value={frame}
          onChange={(e) => setFrame(Math.max(0, e.currentTarget.valueAsNumber || 0))}
        />
        <button type="button" class="button small" onClick={() => setFrame(s.frame.peek())}>
          frame in view
        </button>
      </span>
    </label>
  );
  return (
    <Dialog title="Tracks" wide>
      <div class="tabs" role="tablist" aria-label="What to do">
        {KINDS.map(([name, title], i) => (
          <button
            key={name}
            type="button"
            role="tab"
            aria-selected={kind === name}
            {...(i === 1 ? { "data-first": true } : {})}
            onClick={() => setKind(name)}
          >
            {title}
          </button>
        ))}
      </div>
      <p class="dim">{KINDS.find(([name]) => name === kind)?.[2]}</p>
      <div class="form row tracks-form">
        <ObjectChoice label={kind === "merge" ? "This track" : "Track"} value={a} onChange={setA} />
        {kind === "change_id" && (
          <label>
            New id
            <input type="number" class="narrow" min="1" value={to} onInput={(e) => setTo(e.currentTarget.value)} />
          </label>
        )}
        {(kind === "merge" || kind === "swap") && (
          <ObjectChoice label={kind === "merge" ? "becomes part of" : "and"} value={b} onChange={setB} except={a} />
        )}
        {kind === "merge" && (
          <label>
            Where both have a mask, keep
            <select value={keep} onChange={(e) => setKeep(e.currentTarget.value as typeof keep)}>
              <option value="into">the one it becomes part of</option>
              <option value="from">this track's</option>
              <option value="union">both together</option>
            </select>
          </label>
        )}
        {kind === "split" && frameField("First frame of the second part")}
        {kind === "swap" && frameField("From frame")}
        {kind === "swap" && (
          <label>
            Until
            <span class="row">
              <select
                value={bounded === null ? "end" : "frame"}
                onChange={(e) => setBounded(e.currentTarget.value === "end" ? null : s.frameCount.peek())}
              >
                <option value="end">the end</option>
                <option value="frame">frame</option>
              </select>
              {bounded !== null && (
                <input
                  type="number"
                  class="narrow"
                  aria-label="Last frame"
                  min={frame}
                  max={s.frameCount.value - 1}
                  value={bounded - 1}
                  onChange={(e) => setBounded((e.currentTarget.valueAsNumber || 0) + 1)}
                />
              )}
            </span>
          </label>
        )}
        {kind === "delete_range" && (
          <label>
            Frames
            <RangeFields everywhere={false} value={range} onChange={(value) => value && setRange(value)} />
          </label>
        )}
      </div>
      <div class="dialog-foot">
        <Apply key={kind} edit={edit} verb={VERBS[kind]} danger={kind === "delete_range"} onDone={reset} />
      </div>
    </Dialog>
  );
}
