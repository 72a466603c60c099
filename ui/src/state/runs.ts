/** Tracking runs: start, pause, resume, cancel. What was tracked stays whatever happens. */

import { api } from "../api/client";
import type { JobRequest } from "../api/types";
import { jobFor } from "../pure/request";
import { change } from "./change";
import { jobsHeard, refresh, setJob } from "./session";
import * as s from "./store";

export async function track(request: JobRequest): Promise<void> {
  if (s.running.peek()) return s.say("A run is going on. Pause or cancel it first.", "error");
  if (!request.text && !s.objects.peek().length)
    return s.say("Nothing to track yet: click on an object first.", "error");
  s.hush();
  s.playing.value = false;
  s.follow.value = true;
  const heard = jobsHeard();
  const job = await change((v) => api.startJob(v, request));
  if (job) setJob(job, heard);
  await refresh().catch(() => {}); // what can be undone now
}

/** Auto Run: from the frame in view, in the chosen direction and range. */
export async function autoRun(direction = s.direction.peek()): Promise<void> {
  const range = s.range.peek();
  const here = s.frame.peek();
  const objects = s.onlyActive.peek() && s.active.peek() !== null ? [s.active.peek() as number] : undefined;
  await track(jobFor(direction, here, range, objects));
}

export async function steer(how: "pause" | "resume" | "cancel"): Promise<void> {
  const job = s.job.peek() ?? (how === "resume" ? s.lastJob.peek() : null);
  if (!job) return s.say("No run is going on.", "error");
  if (how === "resume") s.follow.value = true;
  const heard = jobsHeard();
  const answer = await change((v) => api.steerJob(v, job.id, how));
  if (answer) setJob(answer, heard);
  await refresh().catch(() => {});
}

export async function togglePause(): Promise<void> {
  const job = s.job.peek();
  await steer(!job || job.state === "paused" ? "resume" : "pause");
}
