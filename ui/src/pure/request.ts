import type { Direction, JobRequest, Span } from "../api/types";

/** The request for a run; a frame in view outside the range is replaced by the nearest one inside. */
export function jobFor(direction: Direction, here: number, range: Span | null, objects?: number[]): JobRequest {
  const [first, stop] = range ?? [0, Infinity];
  const request: JobRequest = { direction, start: Math.min(Math.max(here, first), stop - 1) };
  if (range) Object.assign(request, { first, stop });
  if (objects) request.objects = objects;
  return request;
}
