/** The video that is open: its frames, masks and painted masks, read and kept up to date. */

import { batch } from "@preact/signals";
import { api, ServerAway, ServerRefused } from "../api/client";
import type { Changed, FrameMasks, Job, Lane, MaskItem } from "../api/types";
import { Frames } from "../media/frames";
import { MaskBook, Sprites } from "../media/masks";
import { whole } from "../pure/lanes";
import { emptyLane, withMask } from "../pure/spans";
import { Live } from "./live";
import * as s from "./store";

export interface Open {
  id: string;
  frames: Frames;
  masks: MaskBook;
  sprites: Sprites;
  live: Live;
}

let open: Open | null = null;

export const current = (): Open | null => open;

const touch = () => (s.painted.value = s.painted.peek() + 1);
const masksCame = () => {
  s.masksRead.value = s.masksRead.peek() + 1;
  touch();
};

function lineOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Opens a video and shows it; the address of the page says which, so that a reload comes back to it. */
export async function openVideo(id: string, at?: number): Promise<void> {
  closeVideo();
  const [video, timeline, jobs] = await Promise.all([api.video(id), api.timeline(id), api.jobs(id)]);
  const first = Math.min(Math.max(at ?? video.prompts[0]?.frame ?? 0, 0), Math.max(0, video.frame_count - 1));
  const masks = new MaskBook(video, masksCame);
  const sprites = new Sprites(video, touch);
  const frames = new Frames(
    video,
    (frame) => arrived(frame),
    (message) => s.say(message, "error"),
  );
  const live = new Live(id, video.revision, {
    changed,
    frame: streamed,
    job: jobTold,
    people: (n) => (s.people.value = n),
    back: cameBack,
  });
  open = { id, frames, masks, sprites, live };
  batch(() => {
    s.video.value = video;
    s.timeline.value = timeline;
    jobSeen(video.job ?? jobs[0] ?? null, true);
    s.frame.value = first;
    s.shown.value = first;
    s.range.value = null;
    s.active.value = null;
    s.lanesWindow.value = whole(video.frame_count);
    s.dialog.value = null;
  });
  s.fitView();
  document.title = `${video.name} · Keepsight`;
  const url = new URL(location.href);
  url.searchParams.set("video", id);
  url.searchParams.set("frame", String(first));
  history.replaceState(null, "", url);
  for (const note of video.notes) s.say(note);
  look();
}

export function closeVideo(): void {
  open?.live.close();
  open?.frames.close();
  open?.sprites.close();
  open = null;
  s.video.value = null;
  s.timeline.value = null;
  s.job.value = null;
  s.playing.value = false;
}

let noting: ReturnType<typeof setTimeout> | undefined;

/** Keeps the frame in view in the page's address, so that a reload comes back to it. Browsers limit how often this may be done. */
function noteFrame(): void {
  noting ??= setTimeout(() => {
    noting = undefined;
    const url = new URL(location.href);
    url.searchParams.set("frame", String(s.frame.peek()));
    history.replaceState(null, "", url);
  }, 400);
}

const REST_MS = 250;
let resting: ReturnType<typeof setTimeout> | undefined;

/** Tells the server on which frame a person rests: the first click there then finds the model and the picture's features at hand. */
function rest(frame: number): void {
  clearTimeout(resting);
  const video = open?.id;
  resting = setTimeout(() => {
    if (!video || open?.id !== video || s.playing.peek()) return;
    // A click works without it as well, and says itself what is wrong.
    api.lookAt(video, { frame }).catch(() => undefined);
  }, REST_MS);
}

/** Fetches what the frame in view and its neighbours need. */
export function look(): void {
  if (!open) return;
  const frame = s.frame.peek();
  open.frames.look(frame, s.heading.peek());
  open.masks.want(frame, s.heading.peek());
  open.sprites.look(frame);
  if (open.frames.has(frame)) s.shown.value = frame;
  warm(frame);
  rest(frame);
}

/** Has the masks of the next frames painted before they are needed. */
function warm(frame: number): void {
  if (!open) return;
  for (let i = 0; i <= 4; i++) paintedAt(frame + i * s.heading.peek());
}

/** Whether all masks of a frame are painted; asks for those that are not. */
export function paintedAt(frame: number): boolean {
  if (!open) return false;
  let all = open.masks.fresh(frame);
  for (const item of open.masks.at(frame)?.values() ?? []) {
    const object = s.objects.peek().find((o) => o.id === item.id);
    if (item.area > 0 && object && !open.sprites.ready({ frame, id: item.id }, item.counts, object.colour)) all = false;
  }
  return all;
}

function arrived(frame: number): void {
  if (frame === s.frame.peek()) s.shown.value = frame;
  touch();
}

/** Moves to a frame. A person's own move ends following the run. */
export function seek(frame: number, own = true): void {
  const count = s.frameCount.peek();
  if (!open || !count) return;
  const next = Math.min(Math.max(Math.round(frame), 0), count - 1);
  if (own && s.running.peek()) s.follow.value = false;
  if (next !== s.frame.peek()) s.heading.value = next > s.frame.peek() ? 1 : -1;
  s.frame.value = next;
  noteFrame();
  look();
}

// ------------------------------------------------------------------------------------------------ what the server says

let reading: Promise<void> | null = null;
let readAgain = false;

/** Reads the video and its timeline again; calls that come meanwhile become one more reading. */
export function refresh(): Promise<void> {
  if (reading) {
    readAgain = true;
    return reading;
  }
  reading = (async () => {
    do {
      readAgain = false;
      const now = open;
      if (!now) return;
      const [video, timeline] = await Promise.all([api.video(now.id), api.timeline(now.id)]);
      if (now !== open) return;
      batch(() => {
        s.video.value = video;
        s.timeline.value = timeline;
        if (s.active.peek() !== null && !video.objects.some((o) => o.id === s.active.peek())) s.active.value = null;
      });
      now.live.since = Math.max(now.live.since, video.revision);
      look();
      touch();
    } while (readAgain);
  })().finally(() => (reading = null));
  return reading;
}

const quietly = (error: unknown) => {
  if (error instanceof ServerRefused) s.say(error.message, "error");
  else if (!(error instanceof ServerAway)) s.say(lineOf(error), "error");
};

function changed(event: Changed, own: boolean): void {
  if (!open) return;
  // An own change of one frame was shown when its answer came.
  const narrow = event.frames !== null && event.frames[1] - event.frames[0] <= 1;
  if (event.what.includes("masks") && !(own && narrow)) open.masks.stale(event.frames);
  if (!own) refresh().catch(quietly);
  look();
}

let timelineDue: ReturnType<typeof setTimeout> | undefined;

function streamed(event: FrameMasks): void {
  if (!open) return;
  open.masks.put(event);
  placeMasks(event.frame, event.objects);
  if (s.follow.peek() && s.running.peek() && !s.playing.peek()) {
    s.heading.value = event.frame >= s.frame.peek() ? 1 : -1;
    seek(event.frame, false);
  }
  timelineDue ??= setTimeout(() => {
    timelineDue = undefined;
    const now = open;
    if (now)
      api.timeline(now.id).then(
        (t) => now === open && (s.timeline.value = t),
        () => {},
      );
  }, 2500);
}

/** Shows new masks on the lanes at once; the server's own lanes follow. */
export function placeMasks(frame: number, items: readonly MaskItem[]): void {
  const timeline = s.timeline.peek();
  if (!timeline) return;
  const low = s.info.peek()?.limits.low_score ?? 0;
  const byId = new Map<number, Lane>(timeline.lanes.map((lane) => [lane.id, lane]));
  for (const item of items) byId.set(item.id, withMask(byId.get(item.id) ?? emptyLane(item.id), frame, item, low));
  s.timeline.value = { ...timeline, lanes: [...byId.values()] };
}

function jobSeen(job: Job | null, atStart = false): void {
  const before = s.job.peek();
  const live = job !== null && ["queued", "running", "paused"].includes(job.state);
  s.job.value = live ? job : null;
  if (job && !live) s.lastJob.value = job;
  if (!job && atStart) s.lastJob.value = null;
  if (job?.state === "interrupted" && atStart && job.resumable)
    s.say("The last run was interrupted. What it tracked is saved; Continue (P) goes on.");
  if (!live) s.follow.value = false;
  if (atStart || !before || live || !job) return;
  ended(job);
}

function ended(job: Job): void {
  if (job.state === "failed" || job.state === "interrupted")
    s.say(job.message || "The run ended early. What it tracked is saved.", "error");
  else if (job.state === "cancelled") s.say(`Cancelled. ${job.done} ${job.done === 1 ? "frame" : "frames"} saved.`);
  else s.say(`Finished. ${job.done} ${job.done === 1 ? "frame" : "frames"} saved.`);
  refresh().catch(quietly);
}

let heard = 0;
const latest: { job: Job | null; before: boolean } = { job: null, before: false };

/** A number that grows with everything that is told about runs; see `setJob`. */
export const jobsHeard = (): number => heard;

function jobTold(job: Job): void {
  heard++;
  latest.before = s.job.peek() !== null;
  latest.job = job;
  jobSeen(job);
}

/**
 * Takes the answer to a request about a run.
 *
 * A run may get on, and even end, before that answer is here: what was told meanwhile is newer.
 *
 * @param since `jobsHeard()` before the request.
 */
export function setJob(job: Job, since: number): void {
  if (heard === since || latest.job?.id !== job.id) return jobSeen(job);
  if (s.job.peek() === null && !latest.before) ended(latest.job);
}

async function cameBack(): Promise<void> {
  open?.masks.stale(null);
  await refresh();
  if (open) {
    const jobs = await api.jobs(open.id);
    jobSeen(jobs.find((j) => ["queued", "running", "paused"].includes(j.state)) ?? jobs[0] ?? null, true);
  }
}
