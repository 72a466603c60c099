/** Draws the lanes. Spans are clipped to the window first, so the cost follows what is in view and not the video's length. */

import type { Job, Lane, Span, TrackedObject } from "../api/types";
import { GUTTER, LANE, RULER, tickStep, xOf, type Window } from "../pure/lanes";

export interface LanesScene {
  width: number;
  height: number;
  ratio: number;
  count: number;
  window: Window;
  scroll: number;
  frame: number;
  hoverFrame: number | null;
  range: Span | null;
  done: Span[];
  job: Job | null;
  active: number | null;
  hovered: number | null;
  rows: { object: TrackedObject; lane: Lane | undefined }[];
  ink: {
    text: string;
    dim: string;
    line: string;
    lane: string;
    accent: string;
    low: string;
    surface: string;
    shade: string;
  };
}

export function paintLanes(canvas: HTMLCanvasElement, scene: LanesScene): void {
  const c = canvas.getContext("2d");
  if (!c) return;
  const { width, height, window, ink } = scene;
  c.setTransform(scene.ratio, 0, 0, scene.ratio, 0, 0);
  c.clearRect(0, 0, width, height);
  const x = (frame: number) => xOf(window, width, frame);
  c.save();
  c.beginPath();
  c.rect(0, RULER, width, height - RULER);
  c.clip();
  scene.rows.forEach((row, i) => {
    const top = RULER + i * LANE - scene.scroll;
    if (top > height || top + LANE < RULER) return;
    drawRow(c, scene, row, top, x);
  });
  c.restore();
  drawRuler(c, scene, x);
  if (scene.range) drawRange(c, scene, scene.range, x);
  if (scene.hoverFrame !== null) upright(c, x(scene.hoverFrame + 0.5), height, ink.dim, 1);
  if (scene.job && scene.job.frame !== null) upright(c, x(scene.job.frame + 0.5), height, ink.low, 1);
  const at = x(scene.frame + 0.5);
  if (at >= GUTTER) {
    upright(c, at, height, ink.accent, 2);
    c.fillStyle = ink.accent;
    c.beginPath();
    c.moveTo(at - 6, 0);
    c.lineTo(at + 6, 0);
    c.lineTo(at, 8);
    c.fill();
  }
}

function upright(c: CanvasRenderingContext2D, x: number, height: number, colour: string, width: number): void {
  if (x < GUTTER) return;
  c.fillStyle = colour;
  c.fillRect(x - width / 2, 0, width, height);
}

function bars(
  c: CanvasRenderingContext2D,
  spans: Span[],
  scene: LanesScene,
  y: number,
  tall: number,
  x: (f: number) => number,
): void {
  const end = scene.window.start + scene.window.length;
  for (const [start, stop] of spans) {
    if (stop <= scene.window.start || start >= end) continue;
    const left = Math.max(GUTTER, x(start));
    c.fillRect(left, y, Math.max(1, Math.min(scene.width, x(stop)) - left), tall);
  }
}

function drawRow(
  c: CanvasRenderingContext2D,
  scene: LanesScene,
  { object, lane }: LanesScene["rows"][number],
  top: number,
  x: (f: number) => number,
): void {
  const { ink, width } = scene;
  const middle = top + LANE / 2;
  const chosen = object.id === scene.active;
  if (chosen || object.id === scene.hovered) {
    c.fillStyle = chosen ? ink.shade : ink.lane;
    c.fillRect(0, top, width, LANE);
  }
  c.fillStyle = ink.lane;
  c.fillRect(GUTTER, top + 4, width - GUTTER, LANE - 8);
  c.globalAlpha = object.hidden ? 0.35 : 1;
  if (lane) {
    c.fillStyle = ink.line;
    bars(c, lane.absent, scene, middle - 1, 2, x);
    c.fillStyle = object.colour;
    c.globalAlpha *= 0.8;
    bars(c, lane.present, scene, top + 4, LANE - 8, x);
    c.globalAlpha = object.hidden ? 0.35 : 1;
    c.fillStyle = ink.low;
    bars(c, lane.low, scene, top + LANE - 7, 3, x);
    drawSigns(c, scene, lane, top, x);
  }
  c.globalAlpha = 1;
  c.fillStyle = ink.surface;
  c.fillRect(0, top, GUTTER - 1, LANE);
  if (chosen) {
    c.fillStyle = ink.shade;
    c.fillRect(0, top, GUTTER - 1, LANE);
  }
  c.fillStyle = object.colour;
  c.beginPath();
  c.arc(14, middle, 5, 0, 2 * Math.PI);
  c.fill();
  c.fillStyle = chosen ? ink.text : ink.dim;
  c.font = `${chosen ? 600 : 400} 12px system-ui, sans-serif`;
  c.textBaseline = "middle";
  c.textAlign = "left";
  c.fillText(clipped(c, `${object.label || "object"} ${object.id}`, GUTTER - 34), 26, middle + 0.5);
}

function clipped(c: CanvasRenderingContext2D, text: string, room: number): string {
  if (c.measureText(text).width <= room) return text;
  let cut = text.length;
  while (cut > 1 && c.measureText(`${text.slice(0, cut)}…`).width > room) cut--;
  return `${text.slice(0, cut)}…`;
}

export type Sign = "prompted" | "corrected" | "edited" | "accepted";

/** One sign on a lane; the legend draws with the same hand. */
export function drawSign(
  c: CanvasRenderingContext2D,
  sign: Sign,
  x: number,
  y: number,
  ink: { text: string; surface: string; ok: string },
): void {
  c.beginPath();
  if (sign === "prompted") c.arc(x, y, 4, 0, 2 * Math.PI);
  else if (sign === "corrected")
    [
      [0, -5],
      [5, 0],
      [0, 5],
      [-5, 0],
    ].forEach(([dx = 0, dy = 0], i) => (i ? c.lineTo(x + dx, y + dy) : c.moveTo(x + dx, y + dy)));
  else if (sign === "edited") c.rect(x - 3.5, y - 3.5, 7, 7);
  else c.roundRect(x - 2, y - 9, 4, 18, 1);
  c.closePath();
  c.fillStyle = sign === "accepted" ? ink.ok : "#ffffff";
  c.fill();
  c.lineWidth = 1.25;
  c.strokeStyle = "#101418";
  c.stroke();
}

function drawSigns(
  c: CanvasRenderingContext2D,
  scene: LanesScene,
  lane: Lane,
  top: number,
  x: (f: number) => number,
): void {
  const y = top + LANE / 2;
  for (const sign of ["accepted", "prompted", "edited", "corrected"] as const) {
    let before = -Infinity;
    for (const frame of lane[sign]) {
      const at = x(frame + 0.5);
      if (at < GUTTER || at > scene.width || at - before < 2) continue;
      drawSign(c, sign, at, y, { text: scene.ink.text, surface: scene.ink.surface, ok: "#22c55e" });
      before = at;
    }
  }
}

function drawRuler(c: CanvasRenderingContext2D, scene: LanesScene, x: (f: number) => number): void {
  const { ink, width, window } = scene;
  c.fillStyle = ink.surface;
  c.fillRect(0, 0, width, RULER);
  c.fillStyle = ink.line;
  c.fillRect(0, RULER - 1, width, 1);
  c.fillRect(GUTTER - 1, 0, 1, scene.height);
  c.globalAlpha = 0.9;
  c.fillStyle = ink.accent;
  bars(c, scene.done, scene, RULER - 3, 2, x);
  c.globalAlpha = 1;
  const step = tickStep(window, width);
  c.font = "11px system-ui, sans-serif";
  c.textBaseline = "middle";
  c.textAlign = "left";
  for (
    let frame = Math.max(0, Math.floor(window.start / step) * step);
    frame < Math.min(scene.count, window.start + window.length);
    frame += step
  ) {
    const at = x(frame);
    if (at < GUTTER) continue;
    c.fillStyle = ink.line;
    c.fillRect(at, RULER - 9, 1, 9);
    c.fillStyle = ink.dim;
    if (at + 30 < width) c.fillText(String(frame), at + 4, 10);
  }
  c.fillStyle = ink.dim;
  c.fillText("Timeline", 10, 12);
}

function drawRange(
  c: CanvasRenderingContext2D,
  scene: LanesScene,
  [start, stop]: Span,
  x: (f: number) => number,
): void {
  const left = Math.max(GUTTER, x(start));
  const right = Math.min(scene.width, Math.max(GUTTER, x(stop)));
  c.fillStyle = scene.ink.surface;
  c.globalAlpha = 0.6;
  c.fillRect(GUTTER, RULER, left - GUTTER, scene.height);
  c.fillRect(right, RULER, scene.width - right, scene.height);
  c.globalAlpha = 1;
  c.fillStyle = scene.ink.accent;
  c.fillRect(left, 0, right - left, 3);
  for (const [at, side] of [
    [left, 1],
    [right, -1],
  ] as const) {
    c.fillRect(at - 1, 0, 2, scene.height);
    c.beginPath();
    c.roundRect(side > 0 ? at - 1 : at - 6, 3, 7, 14, 2);
    c.fill();
  }
}
