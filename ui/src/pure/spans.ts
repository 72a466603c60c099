/** Half-open spans of frames, kept sorted, apart and merged. */

import type { Lane, MaskItem, Span } from "../api/types";

export function add(spans: readonly Span[], start: number, stop: number): Span[] {
  const out: Span[] = [];
  let [from, to] = [start, stop];
  for (const [a, b] of spans) {
    if (b < from || a > to) out.push([a, b]);
    else [from, to] = [Math.min(from, a), Math.max(to, b)];
  }
  out.push([from, to]);
  return out.sort((p, q) => p[0] - q[0]);
}

export function remove(spans: readonly Span[], start: number, stop: number): Span[] {
  const out: Span[] = [];
  for (const [a, b] of spans) {
    if (a < start) out.push([a, Math.min(b, start)]);
    if (b > stop) out.push([Math.max(a, stop), b]);
  }
  return out.filter(([a, b]) => b > a);
}

export function holds(spans: readonly Span[], frame: number): boolean {
  let low = 0;
  let high = spans.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const [a, b] = spans[middle] as Span;
    if (frame < a) high = middle - 1;
    else if (frame >= b) low = middle + 1;
    else return true;
  }
  return false;
}

export function total(spans: readonly Span[]): number {
  return spans.reduce((sum, [a, b]) => sum + b - a, 0);
}

export type Presence = "present" | "low" | "absent" | "untracked";

export function presenceAt(lane: Lane | undefined, frame: number): Presence {
  if (!lane) return "untracked";
  if (holds(lane.low, frame)) return "low";
  if (holds(lane.present, frame)) return "present";
  return holds(lane.absent, frame) ? "absent" : "untracked";
}

export function emptyLane(id: number): Lane {
  return { id, present: [], absent: [], low: [], prompted: [], corrected: [], edited: [], accepted: [] };
}

/** A lane after one streamed mask: what the timeline shows until the server's own is read again. */
export function withMask(lane: Lane, frame: number, mask: MaskItem, lowScore: number): Lane {
  const here = mask.area > 0;
  const low = here && mask.score < lowScore;
  const next = frame + 1;
  return {
    ...lane,
    present: here ? add(lane.present, frame, next) : remove(lane.present, frame, next),
    absent: here ? remove(lane.absent, frame, next) : add(lane.absent, frame, next),
    low: low ? add(lane.low, frame, next) : remove(lane.low, frame, next),
  };
}

/** Frames worth a visit: prompts, corrections, edits, accepted frames, and where low scores and absences begin. */
export function landmarks(lanes: readonly Lane[]): number[] {
  const frames = new Set<number>();
  for (const lane of lanes) {
    for (const list of [lane.prompted, lane.corrected, lane.edited, lane.accepted])
      for (const frame of list) frames.add(frame);
    for (const [start] of [...lane.low, ...lane.absent]) frames.add(start);
  }
  return [...frames].sort((a, b) => a - b);
}

/** The first accepted frame after `frame` of any of these lanes, or null: where re-tracking from `frame` will end. */
export function nextAccepted(lanes: readonly Lane[], frame: number): number | null {
  let nearest: number | null = null;
  for (const lane of lanes)
    for (const at of lane.accepted) if (at > frame && (nearest === null || at < nearest)) nearest = at;
  return nearest;
}
