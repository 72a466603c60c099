/** What presses, drags and the wheel mean on the stage, tool by tool. */

import { signal } from "@preact/signals";
import type { Box } from "../api/types";
import { contains, unpack } from "../pure/rle";
import { clampTo, inReach, inside, toFrame, zoomed } from "../pure/view";
import { prompt } from "../state/actions";
import { current } from "../state/session";
import * as s from "../state/store";
import { beginStroke, dragShape, endStroke, grabbed, moveStroke, pressShape } from "./editor";
import { askNow, askPreview, endPreview } from "./hover";

/** The box being dragged, in frame pixels. */
export const dragged = signal<Box | null>(null);
/** Where the pointer is, in frame pixels; null outside the stage. */
export const cursor = signal<{ x: number; y: number } | null>(null);

type Held =
  | { how: "click" | "pan"; negative: boolean; sx: number; sy: number; vx: number; vy: number; moved: boolean }
  | { how: "box"; x: number; y: number }
  | { how: "stroke" }
  | { how: "corner" };

let held: Held | null = null;
const SLACK_PX = 4;

const point = (event: { offsetX: number; offsetY: number }) => toFrame(s.view.peek(), event.offsetX, event.offsetY);

/** The topmost object whose mask has this pixel; the smallest where several have. */
export function objectAt(x: number, y: number): number | null {
  const video = s.video.peek();
  if (!video || !inside(video, x, y)) return null;
  let best: { id: number; area: number } | null = null;
  for (const item of current()?.masks.at(s.shown.peek())?.values() ?? []) {
    const object = s.objects.peek().find((o) => o.id === item.id);
    if (!object || object.hidden || !item.box || (best && item.area >= best.area)) continue;
    const [x1, y1, x2, y2] = item.box;
    if (x < x1 || y < y1 || x > x2 || y > y2) continue;
    if (contains(unpack(item.counts), video.height, x, y)) best = { id: item.id, area: item.area };
  }
  return best?.id ?? null;
}

export function clickAt(x: number, y: number, negative: boolean): void {
  const video = s.video.peek();
  if (!video || !inside(video, x, y)) return;
  endPreview();
  void prompt(s.shown.peek(), [[Math.floor(x), Math.floor(y), negative ? 0 : 1]], null);
}

export function boxAt(from: { x: number; y: number }, to: { x: number; y: number }): void {
  const video = s.video.peek();
  if (!video) return;
  const [a, b] = [clampTo(video, from.x, from.y), clampTo(video, to.x, to.y)];
  const box: Box = [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y)].map(
    Math.round,
  ) as Box;
  if (box[2] - box[0] < 2 || box[3] - box[1] < 2) return s.say("Drag from one corner of the object to the other.");
  void prompt(s.shown.peek(), [], box);
}

export function down(event: PointerEvent): void {
  const at = point(event);
  const video = s.video.peek();
  if (!video) return;
  (event.currentTarget as Element).setPointerCapture(event.pointerId);
  s.keyboardPointer.value = null;
  const view = s.view.peek();
  const grip = { sx: event.clientX, sy: event.clientY, vx: view.x, vy: view.y, moved: false };
  const tool = s.tool.peek();
  if (event.button === 1 || (event.button === 0 && event.ctrlKey)) held = { how: "pan", negative: false, ...grip };
  else if (event.button === 2 && tool !== "polygon") held = { how: "click", negative: true, ...grip };
  else if (tool === "box") held = { how: "box", ...at };
  else if (tool === "brush" || tool === "eraser") {
    held = { how: "stroke" };
    void beginStroke(at.x, at.y, tool === "eraser" || event.shiftKey);
  } else if (tool === "polygon") {
    held = pressShape(at.x, at.y, event.button === 2 || event.altKey) ? { how: "corner" } : null;
  } else {
    held = { how: "click", negative: !s.positive.peek(), ...grip };
    if (inside(video, at.x, at.y)) askNow(at.x, at.y);
  }
  event.preventDefault();
  (event.currentTarget as HTMLElement).focus({ preventScroll: true });
}

export function move(event: PointerEvent): void {
  const video = s.video.peek();
  if (!video) return;
  const at = point(event);
  cursor.value = at;
  if (!held) {
    s.hovered.value = objectAt(at.x, at.y);
    if (inside(video, at.x, at.y)) askPreview(at.x, at.y);
    else endPreview();
    return;
  }
  if (held.how === "click" || held.how === "pan") {
    const [dx, dy] = [event.clientX - held.sx, event.clientY - held.sy];
    if (Math.hypot(dx, dy) > SLACK_PX) held.moved = true;
    if (held.moved && !held.negative) {
      s.fitted.value = false;
      s.view.value = inReach({ ...s.view.peek(), x: held.vx + dx, y: held.vy + dy }, video, s.stageSize.peek());
    }
  } else if (held.how === "box") {
    const [a, b] = [clampTo(video, held.x, held.y), clampTo(video, at.x, at.y)];
    dragged.value = [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y)];
  } else if (held.how === "stroke") moveStroke(at.x, at.y);
  else dragShape(at.x, at.y);
}

export function up(event: PointerEvent): void {
  const at = point(event);
  const was = held;
  held = null;
  if (!was) return;
  if (was.how === "click" && !was.moved) {
    if (s.tool.peek() === "select" || event.altKey) s.active.value = objectAt(at.x, at.y);
    else if (s.tool.peek() === "click" || was.negative) clickAt(at.x, at.y, was.negative);
  } else if (was.how === "box") {
    dragged.value = null;
    boxAt(was, at);
  } else if (was.how === "stroke") void endStroke();
  else if (was.how === "corner") grabbed.value = -1;
}

export function leave(): void {
  cursor.value = null;
  s.hovered.value = null;
  endPreview();
}

export function cancelHeld(): boolean {
  const any = held !== null || dragged.peek() !== null;
  held = null;
  dragged.value = null;
  return any;
}

export function zoomBy(factor: number, at?: { x: number; y: number }): void {
  const video = s.video.peek();
  const stage = s.stageSize.peek();
  if (!video) return;
  s.fitted.value = false;
  s.view.value = zoomed(s.view.peek(), factor, at ?? { x: stage.width / 2, y: stage.height / 2 }, video, stage);
}

export function wheel(event: WheelEvent): void {
  event.preventDefault();
  const video = s.video.peek();
  if (!video) return;
  if (event.shiftKey) {
    s.fitted.value = false;
    const view = s.view.peek();
    s.view.value = inReach({ ...view, x: view.x - event.deltaX - event.deltaY }, video, s.stageSize.peek());
  } else zoomBy(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), { x: event.offsetX, y: event.offsetY });
}

// ------------------------------------------------------------------------------------------------- keyboard pointer

let anchor: { x: number; y: number } | null = null;

export function movePointer(dx: number, dy: number): void {
  const video = s.video.peek();
  const at = s.keyboardPointer.peek();
  if (!video || !at) return;
  s.keyboardPointer.value = clampTo(video, at.x + dx, at.y + dy);
  const now = s.keyboardPointer.peek() as { x: number; y: number };
  cursor.value = now;
  if (anchor)
    dragged.value = [
      Math.min(anchor.x, now.x),
      Math.min(anchor.y, now.y),
      Math.max(anchor.x, now.x),
      Math.max(anchor.y, now.y),
    ];
  askPreview(now.x, now.y);
}

/** Enter with the keyboard pointer: what a press of the mouse would do with this tool. */
export function pressPointer(): void {
  const at = s.keyboardPointer.peek();
  if (!at) return;
  const tool = s.tool.peek();
  if (tool === "select") s.active.value = objectAt(at.x, at.y);
  else if (tool === "box") {
    if (anchor) boxAt(anchor, at);
    dragged.value = anchor ? null : [at.x, at.y, at.x, at.y];
    anchor = anchor ? null : at;
  } else if (tool === "polygon") {
    pressShape(at.x, at.y, false);
    grabbed.value = -1;
  } else if (tool === "click") clickAt(at.x, at.y, !s.positive.peek());
  else void beginStroke(at.x, at.y, tool === "eraser").then(endStroke);
}

export function endPointer(): void {
  anchor = null;
  dragged.value = null;
  s.keyboardPointer.value = null;
}
