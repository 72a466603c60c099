/** Changing a mask by hand: brush, eraser, polygon. The result goes to the server as a whole mask, so undo is the server's. */

import { signal } from "@preact/signals";
import { nearestEdge, outline, simplify, type Vertex } from "../pure/polygon";
import { boundsOf, crop, pack, runsOf, unpack } from "../pure/rle";
import { rgb } from "../pure/sprite";
import { makeObject, putMask } from "../state/actions";
import { current } from "../state/session";
import * as s from "../state/store";

/** The mask under the brush, as an opaque picture in the object's colour; null between strokes. */
export const stroke = signal<OffscreenCanvas | null>(null);

export interface Shape {
  ring: Vertex[];
  closed: boolean;
  /** What the ring was when it was taken from the mask; null for a polygon that was drawn. */
  from: Vertex[] | null;
}
export const shape = signal<Shape | null>(null);
export const grabbed = signal(-1);
export const takeAway = signal(false);

function target(): { id: number; colour: string } | null {
  const object = s.activeObject.peek();
  if (object?.locked) {
    s.say(`${object.label || "Object"} ${object.id} is locked. Unlock it (L) to change it.`, "error");
    return null;
  }
  return object ? { id: object.id, colour: object.colour } : null;
}

/** The selected object, or a new one where none is selected. */
async function targetOrNew(): Promise<{ id: number; colour: string } | null> {
  if (s.active.peek() === null) await makeObject();
  return target();
}

function sheet(): { canvas: OffscreenCanvas; c: OffscreenCanvasRenderingContext2D } {
  const { width, height } = s.video.peek() ?? { width: 1, height: 1 };
  const canvas = new OffscreenCanvas(width, height);
  return { canvas, c: canvas.getContext("2d", { willReadFrequently: true }) as OffscreenCanvasRenderingContext2D };
}

function maskPixels(frame: number, id: number): Uint8Array {
  const { width, height } = s.video.peek() ?? { width: 1, height: 1 };
  const item = current()?.masks.get(frame, id);
  if (!item || item.area === 0) return new Uint8Array(width * height);
  return crop(unpack(item.counts), height, { x: 0, y: 0, width, height });
}

function drawMask(c: OffscreenCanvasRenderingContext2D, frame: number, id: number, colour: string): void {
  const item = current()?.masks.get(frame, id);
  const height = s.video.peek()?.height ?? 1;
  if (!item || item.area === 0) return;
  const runs = unpack(item.counts);
  const bounds = boundsOf(runs, height);
  if (!bounds) return;
  const [red, green, blue] = rgb(colour);
  const opaque = (255 << 24) | (blue << 16) | (green << 8) | red;
  const pixels = new Uint32Array(crop(runs, height, bounds)).map((inside) => (inside ? opaque : 0));
  c.putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), bounds.width, bounds.height), bounds.x, bounds.y);
}

let line: { c: OffscreenCanvasRenderingContext2D; id: number; frame: number; x: number; y: number } | null = null;

let beginning: Promise<void> = Promise.resolve();

export function beginStroke(x: number, y: number, erase: boolean): Promise<void> {
  return (beginning = startLine(x, y, erase));
}

async function startLine(x: number, y: number, erase: boolean): Promise<void> {
  const object = erase ? target() : await targetOrNew();
  if (!object) {
    if (erase && s.active.peek() === null) s.say("Select the object whose mask is to be erased.", "error");
    return;
  }
  const { canvas, c } = sheet();
  const frame = s.shown.peek();
  drawMask(c, frame, object.id, object.colour);
  c.globalCompositeOperation = erase ? "destination-out" : "source-over";
  c.strokeStyle = object.colour;
  c.lineCap = "round";
  c.lineJoin = "round";
  c.lineWidth = s.brushSize.peek();
  line = { c, id: object.id, frame, x, y };
  stroke.value = canvas;
  moveStroke(x, y);
}

export function moveStroke(x: number, y: number): void {
  if (!line) return;
  line.c.beginPath();
  line.c.moveTo(line.x, line.y);
  // A line of no length draws nothing; a dot is one of almost none.
  line.c.lineTo(x + 0.01, y);
  line.c.stroke();
  [line.x, line.y] = [x, y];
  s.painted.value++;
}

export async function endStroke(): Promise<void> {
  await beginning;
  if (!line) return;
  const { c, id, frame } = line;
  line = null;
  await putMask(frame, id, packSheet(c));
  stroke.value = null;
}

/** Packed run lengths of a sheet: the pixels that are more than half covered. */
function packSheet(c: OffscreenCanvasRenderingContext2D): string {
  const { width, height } = c.canvas;
  const { data } = c.getImageData(0, 0, width, height);
  const mask = new Uint8Array(width * height);
  for (let i = 0, a = 3; i < mask.length; i++, a += 4) mask[i] = (data[a] as number) > 127 ? 1 : 0;
  return pack(runsOf(mask, width, height));
}

// ---------------------------------------------------------------------------------------------------------- polygon

/** Starts from the outline of the selected object's mask, with as few corners as hold its form. */
export function takeOutline(): void {
  const object = target();
  const video = s.video.peek();
  if (!object || !video) {
    if (s.active.peek() === null) s.say("Select an object to pull at its outline, or click corners to draw a polygon.");
    return;
  }
  const ring = outline(maskPixels(s.shown.peek(), object.id), video.width, video.height);
  if (!ring.length) return s.say("This object has no mask on this frame: click corners to draw one.");
  const simple = simplify(ring, Math.max(1, 2.5 / s.view.peek().scale));
  shape.value = { ring: simple, closed: true, from: simple.map(([x, y]) => [x, y]) };
}

export function dropShape(): void {
  shape.value = null;
  grabbed.value = -1;
}

/** A press at a point of the frame: grabs a corner, adds one, or closes the ring. Returns whether a corner is held now. */
export function pressShape(x: number, y: number, remove: boolean): boolean {
  const reach = 9 / s.view.peek().scale;
  const now = shape.peek();
  const near = now ? now.ring.findIndex(([vx, vy]) => Math.hypot(vx - x, vy - y) <= reach) : -1;
  if (now && near >= 0 && remove) {
    const ring = now.ring.filter((_, i) => i !== near);
    if (ring.length) shape.value = { ...now, ring };
    else dropShape();
    return false;
  }
  if (remove) return false;
  if (now && !now.closed && near === 0 && now.ring.length >= 3) {
    shape.value = { ...now, closed: true };
    return false;
  }
  if (now && near >= 0) {
    grabbed.value = near;
    return true;
  }
  if (now?.closed) {
    const edge = nearestEdge(now.ring, x, y);
    if (edge.away > reach * 1.5) return false;
    const ring = [...now.ring];
    ring.splice(edge.after + 1, 0, [x, y]);
    shape.value = { ...now, ring };
    grabbed.value = edge.after + 1;
    return true;
  }
  shape.value = { ring: [...(now?.ring ?? []), [x, y]], closed: false, from: null };
  return false;
}

export function dragShape(x: number, y: number): void {
  const now = shape.peek();
  if (!now || grabbed.peek() < 0) return;
  shape.value = { ...now, ring: now.ring.map((vertex, i) => (i === grabbed.peek() ? [x, y] : vertex)) };
}

/** Enter: closes an open ring, applies a closed one, and takes the mask's outline where there is none. */
export async function confirmShape(): Promise<void> {
  const now = shape.peek();
  if (!now) return takeOutline();
  if (now.ring.length < 3) return s.say("A polygon needs three corners.", "error");
  await applyShape();
}

/**
 * Writes the polygon into the mask. A drawn one is added or taken away; one that was pulled out of the mask's outline changes
 * only what lies between its old and its new course, so holes, other parts and fine edges stay.
 */
export async function applyShape(): Promise<void> {
  const now = shape.peek();
  const frame = s.shown.peek();
  const object = now && (await targetOrNew());
  if (!now || !object) return;
  const { c } = sheet();
  drawMask(c, frame, object.id, object.colour);
  const fill = (ring: readonly Vertex[], how: GlobalCompositeOperation) => {
    c.globalCompositeOperation = how;
    c.fillStyle = object.colour;
    c.beginPath();
    ring.forEach(([x, y], i) => (i ? c.lineTo(x, y) : c.moveTo(x, y)));
    c.closePath();
    c.fill();
  };
  if (now.from === null) fill(now.ring, takeAway.peek() ? "destination-out" : "source-over");
  else {
    fillBetween(c, now.from, now.ring, "destination-out");
    fillBetween(c, now.ring, now.from, "source-over", object.colour);
  }
  dropShape();
  await putMask(frame, object.id, packSheet(c));
}

/** Fills what is inside `inner` and outside `outer`. */
function fillBetween(
  c: OffscreenCanvasRenderingContext2D,
  inner: readonly Vertex[],
  outer: readonly Vertex[],
  how: GlobalCompositeOperation,
  colour = "#000000",
): void {
  const part = sheet();
  const trace = (ring: readonly Vertex[]) => {
    part.c.beginPath();
    ring.forEach(([x, y], i) => (i ? part.c.lineTo(x, y) : part.c.moveTo(x, y)));
    part.c.closePath();
    part.c.fill();
  };
  part.c.fillStyle = colour;
  trace(inner);
  part.c.globalCompositeOperation = "destination-out";
  trace(outer);
  c.globalCompositeOperation = how;
  c.drawImage(part.canvas, 0, 0);
}
