/** What label and track manager share: a change is shown in numbers before it is made, and can be undone after. */

import { useEffect, useState } from "preact/hooks";
import { api } from "../api/client";
import type { Edit, EditResult } from "../api/types";
import { undo } from "../state/actions";
import { changeAndRead } from "../state/change";
import { current } from "../state/session";
import * as s from "../state/store";
import { Icon } from "../parts/icons";
import { lineOf, Problem } from "./dialog";

/** Asks the server what an edit would change, each time the edit changes. */
export function useForecast(edit: Edit | null): { forecast: EditResult | null; problem: string | null } {
  const [forecast, setForecast] = useState<EditResult | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const key = JSON.stringify(edit) + (s.video.value?.revision ?? 0);
  useEffect(() => {
    setForecast(null);
    setProblem(null);
    const open = current();
    if (!edit || !open) return;
    let gone = false;
    const timer = setTimeout(() => {
      api.edit(open.id, edit, true).then(
        (r) => !gone && setForecast(r),
        (e: unknown) => !gone && setProblem(lineOf(e)),
      );
    }, 150);
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [key]);
  return { forecast, problem };
}

export async function make(edit: Edit, confirm: boolean): Promise<EditResult> {
  const result = await changeAndRead((v) => api.edit(v, edit, false, confirm), { tell: false });
  current()?.masks.stale(null);
  current()?.masks.want(s.frame.peek(), 1);
  if (!result) throw new Error("The change was not made.");
  return result;
}

const counted = (count: number, what: string) => `${count} ${what}${count === 1 ? "" : "s"}`;

/** The forecast of an edit and the button that makes it; a warning has to be ticked first. */
export function Apply({
  edit,
  verb,
  danger,
  onDone,
}: {
  edit: Edit | null;
  verb: string;
  danger?: boolean;
  onDone?: () => void;
}) {
  const [busy, setBusy] = useState(false);
  // Not while the change is being made: what it would change is then no longer to be had.
  const { forecast, problem } = useForecast(busy ? null : edit);
  const [agreed, setAgreed] = useState(false);
  const [refused, setRefused] = useState<string | null>(null);
  const [done, setDone] = useState<string | null>(null);
  const key = JSON.stringify(edit);
  useEffect(() => {
    setAgreed(false);
    setRefused(null);
  }, [key]);
  useEffect(() => {
    if (edit) setDone(null);
  }, [key]);
  const apply = async () => {
    if (!edit) return;
    setBusy(true);
    setRefused(null);
    try {
      setDone((await make(edit, agreed)).summary);
      onDone?.();
    } catch (error) {
      setRefused(lineOf(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <div class="apply">
      <div class="forecast" role="status" aria-live="polite">
        {done && !edit && (
          <p class="done">
            <Icon name="check" />
            {done}{" "}
            <button
              type="button"
              class="button small"
              onClick={() => {
                setDone(null);
                void undo();
              }}
            >
              Undo
            </button>
          </p>
        )}
        {edit && forecast && (
          <p>
            {forecast.summary}{" "}
            <span class="dim">
              {counted(forecast.objects, "object")}
              {forecast.frames > 0 && `, ${counted(forecast.frames, "mask")}`}
              {forecast.conflicts > 0 && `, ${counted(forecast.conflicts, "conflict")}`}
            </span>
          </p>
        )}
        {edit && forecast?.warning && (
          <label class="warning">
            <input type="checkbox" checked={agreed} onChange={(e) => setAgreed(e.currentTarget.checked)} />
            <Icon name="warning" />
            <span>{forecast.warning}</span>
          </label>
        )}
        {edit && !forecast && !problem && <p class="dim">{busy ? "Changing …" : "Counting …"}</p>}
        {!edit && !done && <p class="dim">Fill in what is to change; what it touches is shown here first.</p>}
        <Problem text={refused ?? problem} />
      </div>
      <button
        type="button"
        class={`button ${danger ? "danger" : "accent"}`}
        disabled={!edit || !forecast || busy || (!!forecast.warning && !agreed)}
        onClick={() => void apply()}
      >
        {verb}
      </button>
    </div>
  );
}

/** From, to (both inclusive, as people say it), or everywhere. Gives half-open frames to `onChange`. */
export function RangeFields({
  value,
  onChange,
  everywhere = true,
}: {
  value: [number, number] | null;
  onChange: (value: [number, number] | null) => void;
  everywhere?: boolean;
}) {
  const last = Math.max(0, s.frameCount.value - 1);
  const [start, stop] = value ?? [0, last + 1];
  const set = (from: number, to: number) => {
    const first = Math.min(Math.max(Number.isFinite(from) ? from : 0, 0), last);
    onChange([first, Math.min(Math.max(Number.isFinite(to) ? to : last, first), last) + 1]);
  };
  return (
    <span class="range-fields">
      {everywhere && (
        <select
          value={value ? "range" : "all"}
          aria-label="Where"
          onChange={(e) =>
            e.currentTarget.value === "all" ? onChange(null) : onChange(s.range.peek() ?? [s.frame.peek(), last + 1])
          }
        >
          <option value="all">everywhere</option>
          <option value="range">in frames</option>
        </select>
      )}
      {(value || !everywhere) && (
        <>
          <input
            type="number"
            class="narrow"
            min="0"
            max={last}
            value={start}
            aria-label="First frame"
            onChange={(e) => set(e.currentTarget.valueAsNumber, stop - 1)}
          />
          to
          <input
            type="number"
            class="narrow"
            min="0"
            max={last}
            value={stop - 1}
            aria-label="Last frame"
            onChange={(e) => set(start, e.currentTarget.valueAsNumber)}
          />
        </>
      )}
    </span>
  );
}
