/** The timeline's geometry: which frames are in view, where they lie, what a press on the canvas means. */

import type { Span } from "../api/types";

export const GUTTER = 148;
export const RULER = 24;
export const LANE = 20;

export interface Window {
  /** First frame in view, a fraction while it glides. */
  start: number;
  /** Frames in view. */
  length: number;
}

export function whole(count: number): Window {
  return { start: 0, length: Math.max(1, count) };
}

export function xOf(window: Window, width: number, frame: number): number {
  return GUTTER + ((frame - window.start) / window.length) * Math.max(1, width - GUTTER);
}

export function frameAt(window: Window, width: number, x: number, count: number): number {
  const frame = Math.floor(window.start + ((x - GUTTER) / Math.max(1, width - GUTTER)) * window.length);
  return Math.min(Math.max(frame, 0), count - 1);
}

export function clampWindow(window: Window, count: number): Window {
  const length = Math.min(Math.max(window.length, Math.min(count, 8)), Math.max(1, count));
  return { length, start: Math.min(Math.max(window.start, 0), count - length) };
}

export function zoomWindow(window: Window, factor: number, frame: number, count: number): Window {
  const length = Math.min(Math.max(window.length / factor, Math.min(count, 8)), count);
  return clampWindow({ length, start: frame - ((frame - window.start) / window.length) * length }, count);
}

/** Moved just far enough that the frame is in view. */
export function following(window: Window, frame: number, count: number): Window {
  if (frame < window.start) return clampWindow({ ...window, start: frame - window.length * 0.1 }, count);
  if (frame >= window.start + window.length)
    return clampWindow({ ...window, start: frame - window.length * 0.9 }, count);
  return window;
}

/** Frames between labelled ticks: a round number at least `room` pixels wide. */
export function tickStep(window: Window, width: number, room = 64): number {
  const least = (window.length / Math.max(1, width - GUTTER)) * room;
  for (let unit = 1; ; unit *= 10) for (const step of [1, 2, 5]) if (step * unit >= least) return step * unit;
}

export interface Part {
  what: "gutter" | "ruler" | "lane" | "nothing" | "start" | "stop";
  lane: number;
}

/** What lies under a point of the canvas; `range` handles win over the ruler they stand on. */
export function partAt(
  window: Window,
  width: number,
  x: number,
  y: number,
  lanes: number,
  scroll: number,
  range: Span | null,
): Part {
  const lane = y < RULER ? -1 : Math.floor((y - RULER + scroll) / LANE);
  if (y < RULER && range) {
    const [left, right] = [xOf(window, width, range[0]), xOf(window, width, range[1])];
    const [toLeft, toRight] = [Math.abs(x - left), Math.abs(x - right)];
    if (Math.min(toLeft, toRight) <= 7) return { what: toLeft < toRight || x < left ? "start" : "stop", lane: -1 };
  }
  if (y < RULER) return { what: x < GUTTER ? "nothing" : "ruler", lane: -1 };
  if (lane >= lanes) return { what: x < GUTTER ? "nothing" : "ruler", lane: -1 };
  return { what: x < GUTTER ? "gutter" : "lane", lane };
}

/** A range with one end moved to a frame; it never becomes empty and never leaves the video. */
export function moved(range: Span | null, end: "start" | "stop", frame: number, count: number): Span {
  const [start, stop] = range ?? [0, count];
  return end === "start"
    ? [Math.min(Math.max(frame, 0), stop - 1), stop]
    : [start, Math.max(Math.min(frame, count), start + 1)];
}

/** `m:ss.cc` of a frame. */
export function clock(frame: number, fps: number): string {
  const hundredths = Math.round((frame / fps) * 100);
  const seconds = Math.floor(hundredths / 100);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}.${String(hundredths % 100).padStart(2, "0")}`;
}
