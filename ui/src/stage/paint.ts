/** One repaint of the stage: the frame, its masks, boxes, names and the marks of the person. No pixel is touched by script. */

import type { Box, MaskItem, Point, TrackedObject } from "../api/types";
import type { Vertex } from "../pure/polygon";
import type { View } from "../pure/view";

export interface Scene {
  picture: ImageBitmap | null;
  size: { width: number; height: number };
  view: View;
  ratio: number;
  masks: {
    item: MaskItem;
    object: TrackedObject;
    sprite: { bitmap: ImageBitmap | null; x: number; y: number } | undefined;
  }[];
  output: "masks" | "boxes" | "both";
  active: number | null;
  hovered: number | null;
  tags: boolean;
  marks: { points: Point[]; box: Box | null; colour: string; faint: boolean }[];
  preview: { bitmap: ImageBitmap | null; x: number; y: number } | null;
  drag: Box | null;
  /** The selected object's mask while a brush changes it; drawn in place of the painted one. */
  stroke: CanvasImageSource | null;
  brush: { x: number; y: number; radius: number; erase: boolean } | null;
  polygon: { ring: readonly Vertex[]; closed: boolean; grabbed: number; cursor: Vertex | null } | null;
  pointer: { x: number; y: number } | null;
}

const FONT = "600 11px system-ui, sans-serif";

export function paintStage(canvas: HTMLCanvasElement, scene: Scene): void {
  const c = canvas.getContext("2d");
  if (!c) return;
  const { view, ratio } = scene;
  c.setTransform(1, 0, 0, 1, 0, 0);
  c.clearRect(0, 0, canvas.width, canvas.height);
  c.setTransform(view.scale * ratio, 0, 0, view.scale * ratio, view.x * ratio, view.y * ratio);
  c.imageSmoothingEnabled = view.scale * ratio < 3;
  if (scene.picture) c.drawImage(scene.picture, 0, 0, scene.size.width, scene.size.height);
  const focus = scene.masks.some((m) => m.object.id === scene.active);
  if (scene.output !== "boxes")
    for (const { object, sprite } of scene.masks) {
      if (!sprite?.bitmap || (scene.stroke && object.id === scene.active)) continue;
      c.globalAlpha = focus && object.id !== scene.active && object.id !== scene.hovered ? 0.75 : 1;
      c.drawImage(sprite.bitmap, sprite.x, sprite.y);
    }
  c.globalAlpha = 0.55;
  if (scene.preview?.bitmap) c.drawImage(scene.preview.bitmap, scene.preview.x, scene.preview.y);
  if (scene.stroke) c.drawImage(scene.stroke, 0, 0);
  c.globalAlpha = 1;
  // Lines, names and marks keep their size on the screen, whatever the zoom.
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  const at = (x: number, y: number): [number, number] => [view.x + x * view.scale, view.y + y * view.scale];
  for (const { item, object } of scene.masks) outlines(c, scene, item, object, at);
  for (const mark of scene.marks) drawMarks(c, mark, at);
  if (scene.drag) dashed(c, scene.drag, "#ffffff", at);
  if (scene.polygon) drawPolygon(c, scene.polygon, at);
  if (scene.brush) {
    const [x, y] = at(scene.brush.x, scene.brush.y);
    ring(c, x, y, scene.brush.radius * view.scale, scene.brush.erase ? "#ff8a80" : "#ffffff");
  }
  if (scene.pointer) crosshair(c, ...at(scene.pointer.x + 0.5, scene.pointer.y + 0.5));
}

type At = (x: number, y: number) => [number, number];

function outlines(c: CanvasRenderingContext2D, scene: Scene, item: MaskItem, object: TrackedObject, at: At): void {
  if (!item.box || item.area === 0) return;
  const [x1, y1] = at(item.box[0], item.box[1]);
  const [x2, y2] = at(item.box[2], item.box[3]);
  const chosen = object.id === scene.active;
  if (scene.output !== "masks") {
    c.lineWidth = chosen ? 3 : 2;
    c.strokeStyle = object.colour;
    c.strokeRect(x1, y1, x2 - x1, y2 - y1);
  } else if (chosen || object.id === scene.hovered)
    corners(c, x1 - 3, y1 - 3, x2 + 3, y2 + 3, chosen ? "#ffffff" : object.colour);
  if (!scene.tags) return;
  c.font = FONT;
  const text = `${object.label || "object"} ${object.id}`;
  const width = c.measureText(text).width + 10;
  const left = Math.max(0, Math.min(x1, c.canvas.width / scene.ratio - width));
  const top = Math.max(0, y1 - 20);
  c.fillStyle = object.colour;
  c.beginPath();
  c.roundRect(left, top, width, 17, 3);
  c.fill();
  c.fillStyle = inkOn(object.colour);
  c.textBaseline = "middle";
  c.fillText(text, left + 5, top + 9);
}

/** Black or white, whichever reads better on the colour. */
export function inkOn(colour: string): string {
  const value = parseInt(colour.slice(1), 16);
  const light = 0.299 * ((value >> 16) & 255) + 0.587 * ((value >> 8) & 255) + 0.114 * (value & 255);
  return light > 140 ? "#101418" : "#ffffff";
}

function corners(c: CanvasRenderingContext2D, x1: number, y1: number, x2: number, y2: number, colour: string): void {
  const arm = Math.min(14, (x2 - x1) / 3, (y2 - y1) / 3);
  for (const [width, style] of [
    [4, "rgba(0,0,0,0.55)"],
    [2, colour],
  ] as const) {
    c.lineWidth = width;
    c.strokeStyle = style;
    c.beginPath();
    for (const [x, y, dx, dy] of [
      [x1, y1, 1, 1],
      [x2, y1, -1, 1],
      [x2, y2, -1, -1],
      [x1, y2, 1, -1],
    ] as const) {
      c.moveTo(x + arm * dx, y);
      c.lineTo(x, y);
      c.lineTo(x, y + arm * dy);
    }
    c.stroke();
  }
}

function drawMarks(c: CanvasRenderingContext2D, mark: Scene["marks"][number], at: At): void {
  c.globalAlpha = mark.faint ? 0.45 : 1;
  if (mark.box) dashed(c, mark.box, mark.colour, at);
  for (const [px, py, positive] of mark.points) {
    const [x, y] = at(px + 0.5, py + 0.5);
    c.beginPath();
    c.arc(x, y, 6.5, 0, 2 * Math.PI);
    c.fillStyle = positive ? "#16a34a" : "#dc2626";
    c.fill();
    c.lineWidth = 2;
    c.strokeStyle = "#ffffff";
    c.stroke();
    c.beginPath();
    c.moveTo(x - 3, y);
    c.lineTo(x + 3, y);
    if (positive) {
      c.moveTo(x, y - 3);
      c.lineTo(x, y + 3);
    }
    c.lineWidth = 1.6;
    c.stroke();
  }
  c.globalAlpha = 1;
}

function dashed(c: CanvasRenderingContext2D, box: Box, colour: string, at: At): void {
  const [x1, y1] = at(box[0], box[1]);
  const [x2, y2] = at(box[2], box[3]);
  c.lineWidth = 3;
  c.strokeStyle = "rgba(0,0,0,0.55)";
  c.strokeRect(x1, y1, x2 - x1, y2 - y1);
  c.setLineDash([6, 4]);
  c.lineWidth = 1.5;
  c.strokeStyle = colour;
  c.strokeRect(x1, y1, x2 - x1, y2 - y1);
  c.setLineDash([]);
}

function drawPolygon(c: CanvasRenderingContext2D, shape: NonNullable<Scene["polygon"]>, at: At): void {
  const points = shape.ring.map(([x, y]) => at(x, y));
  if (!shape.closed && shape.cursor && points.length) points.push(at(...shape.cursor));
  if (!points.length) return;
  c.beginPath();
  points.forEach(([x, y], i) => (i ? c.lineTo(x, y) : c.moveTo(x, y)));
  if (shape.closed) c.closePath();
  c.fillStyle = "rgba(255,255,255,0.12)";
  c.fill();
  c.lineWidth = 3;
  c.strokeStyle = "rgba(0,0,0,0.6)";
  c.stroke();
  c.lineWidth = 1.5;
  c.strokeStyle = "#ffffff";
  c.stroke();
  shape.ring.forEach(([vx, vy], i) => {
    const [x, y] = at(vx, vy);
    c.beginPath();
    c.arc(x, y, i === shape.grabbed ? 6 : 4, 0, 2 * Math.PI);
    c.fillStyle = i === shape.grabbed ? "#38c6ff" : "#ffffff";
    c.fill();
    c.lineWidth = 1;
    c.strokeStyle = "#101418";
    c.stroke();
  });
}

function ring(c: CanvasRenderingContext2D, x: number, y: number, radius: number, colour: string): void {
  for (const [width, style] of [
    [3, "rgba(0,0,0,0.6)"],
    [1.5, colour],
  ] as const) {
    c.beginPath();
    c.arc(x, y, Math.max(1, radius), 0, 2 * Math.PI);
    c.lineWidth = width;
    c.strokeStyle = style;
    c.stroke();
  }
}

function crosshair(c: CanvasRenderingContext2D, x: number, y: number): void {
  for (const [width, style] of [
    [4, "rgba(0,0,0,0.6)"],
    [1.5, "#38c6ff"],
  ] as const) {
    c.lineWidth = width;
    c.strokeStyle = style;
    c.beginPath();
    for (const [dx, dy] of [
      [1, 0],
      [-1, 0],
      [0, 1],
      [0, -1],
    ] as const) {
      c.moveTo(x + 5 * dx, y + 5 * dy);
      c.lineTo(x + 20 * dx, y + 20 * dy);
    }
    c.stroke();
  }
}
