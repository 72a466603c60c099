/** What a click where the pointer rests would do: its mask, shown before, or at least looked for, so that the click is quick. */

import { signal } from "@preact/signals";
import { api } from "../api/client";
import type { MaskItem, PromptRequest } from "../api/types";
import { current } from "../state/session";
import * as s from "../state/store";

export const previewed = signal<MaskItem | null>(null);
/** The first, coarser answer to a click whose mask is still being made. */
export const provisional = signal<MaskItem | null>(null);

const REST_MS = 40;
let timer: ReturnType<typeof setTimeout> | undefined;
let flight: AbortController | null = null;

export function endPreview(): void {
  clearTimeout(timer);
  flight?.abort();
  flight = null;
  previewed.value = null;
}

/** Shows what there is at once of a first click's mask, until the mask itself is here: then call what this returns. */
export function showAtOnce(what: PromptRequest): () => void {
  const open = current();
  const mine = new AbortController();
  if (open)
    api.preview(open.id, { ...what, quick: true }, mine.signal).then(
      ({ mask }) => {
        if (mask && !mine.signal.aborted && s.shown.peek() === what.frame) provisional.value = mask;
      },
      () => {}, // a courtesy; the click itself reports what is wrong
    );
  return () => {
    mine.abort();
    provisional.value = null;
  };
}

/** A press has begun that may become a click: no need to wait until the pointer rests. */
export function askNow(x: number, y: number): void {
  const open = current();
  if (!open || s.tool.peek() !== "click" || s.hoverPreview.peek() || s.running.peek() || s.playing.peek()) return;
  clearTimeout(timer);
  api.lookAt(open.id, clickOn(x, y)).catch(() => undefined); // the click itself reports what is wrong
}

const clickOn = (x: number, y: number) => ({
  object_id: s.active.peek(),
  frame: s.shown.peek(),
  points: [[Math.floor(x), Math.floor(y), s.positive.peek() ? 1 : 0] as [number, number, 0 | 1]],
});

/** Asks once the pointer rests; an answer that comes after the pointer has moved on is dropped. */
export function askPreview(x: number, y: number): void {
  clearTimeout(timer);
  flight?.abort();
  const open = current();
  if (!open || s.tool.peek() !== "click" || s.running.peek() || s.playing.peek()) return endPreview();
  timer = setTimeout(async () => {
    const click = clickOn(x, y);
    if (!s.hoverPreview.peek()) {
      api.lookAt(open.id, click).catch(() => undefined); // the click itself reports what is wrong
      return;
    }
    const mine = new AbortController();
    flight = mine;
    const what = {
      ...click,
      box: null,
      mask: null,
      replace: false,
    };
    try {
      const { mask } = await api.preview(open.id, what, mine.signal);
      if (flight === mine) previewed.value = mask;
    } catch {
      if (flight === mine) previewed.value = null; // a preview is a courtesy; the click itself reports what is wrong
    }
  }, REST_MS);
}
