/** What the mask would be if the person clicked where the pointer rests. */

import { signal } from "@preact/signals";
import { api } from "../api/client";
import type { MaskItem } from "../api/types";
import { current } from "../state/session";
import * as s from "../state/store";

export const previewed = signal<MaskItem | null>(null);

const REST_MS = 70;
let timer: ReturnType<typeof setTimeout> | undefined;
let flight: AbortController | null = null;

export function endPreview(): void {
  clearTimeout(timer);
  flight?.abort();
  flight = null;
  previewed.value = null;
}

/** Asks once the pointer rests; an answer that comes after the pointer has moved on is dropped. */
export function askPreview(x: number, y: number): void {
  clearTimeout(timer);
  flight?.abort();
  const open = current();
  if (!open || !s.hoverPreview.peek() || s.tool.peek() !== "click" || s.running.peek()) return endPreview();
  timer = setTimeout(async () => {
    const mine = new AbortController();
    flight = mine;
    const what = {
      object_id: s.active.peek(),
      frame: s.shown.peek(),
      points: [[Math.floor(x), Math.floor(y), s.positive.peek() ? 1 : 0] as [number, number, 0 | 1]],
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
