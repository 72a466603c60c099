/** What a person can do to objects and masks, one function each. */

import { api } from "../api/client";
import type { Box, MaskItem, Point, Settings, TrackedObject, Video } from "../api/types";
import { presenceAt, nextAccepted } from "../pure/spans";
import { showAtOnce } from "../stage/hover";
import { change, changeAndRead } from "./change";
import { track } from "./runs";
import { current, placeMasks, refresh, seek } from "./session";
import * as s from "./store";

function revise(revision: number, more: Partial<Video> = {}): void {
  const video = s.video.peek();
  if (video) s.video.value = { ...video, ...more, revision: Math.max(video.revision, revision) };
}

function place(frame: number, mask: MaskItem): void {
  current()?.masks.put({ frame, objects: [mask] });
  placeMasks(frame, [mask]);
}

/** An object that a click has started and the server has not numbered yet; later clicks wait for its id. */
let starting: Promise<number | null> | null = null;

/** The id of the object that the person is working on, once the server has numbered it. */
export async function workedOn(): Promise<number | null> {
  return s.active.peek() ?? (starting ? await starting : null);
}

export const isStarting = () => starting !== null;

/** Clicks, a box: to the selected object, or to a new one. The mark is drawn at once, the mask when it comes. */
export async function prompt(frame: number, points: Point[], box: Box | null): Promise<void> {
  s.hush();
  const target = await workedOn();
  const known = target === null ? undefined : s.objects.peek().find((o) => o.id === target);
  if (known?.locked)
    return s.say(`${known.label || "Object"} ${known.id} is locked. Unlock it (L) to change it.`, "error");
  const mark = { frame, points, box, object: target };
  pendingMarks.push(mark);
  s.painted.value++;
  const corrects = target !== null && trackedThrough(target, frame);
  const what = { object_id: target, frame, points, box, mask: null, replace: false };
  // Asked before the click itself, for the server answers in turn.
  const first = !box && (target === null || !current()?.masks.at(frame)?.has(target));
  const settle = first ? showAtOnce(what) : () => {};
  const sent = change((v) => api.prompt(v, what));
  if (target === null) starting = sent.then((answer) => answer?.object.id ?? null);
  const answer = await sent;
  if (target === null) starting = null;
  pendingMarks.splice(pendingMarks.indexOf(mark), 1);
  if (!answer) {
    settle();
    return void s.painted.value++;
  }
  const video = s.video.peek();
  if (video) {
    const others = video.objects.filter((o) => o.id !== answer.object.id);
    const before = video.prompts.find((p) => p.object_id === answer.object.id && p.frame === frame);
    const merged = {
      id: answer.prompt_id,
      object_id: answer.object.id,
      frame,
      points: [...(before?.points ?? []), ...points],
      box: box ?? before?.box ?? null,
      mask: before?.mask ?? false,
    };
    const prompts = [...video.prompts.filter((p) => p !== before), merged];
    revise(answer.revision, { objects: [...others, answer.object], prompts });
  }
  if (s.active.peek() === null || target === null) s.active.value = answer.object.id;
  place(frame, answer.mask);
  settle();
  await refresh().catch(() => {});
  if (corrects) offerRetrack(answer.object, frame);
}

export interface Mark {
  frame: number;
  points: Point[];
  box: Box | null;
  object: number | null;
}
export const pendingMarks: Mark[] = [];

/** Whether tracking has passed this frame, so that what is said on it should be carried on from it. */
const trackedThrough = (id: number, frame: number) =>
  [frame - 1, frame + 1].some((n) => presenceAt(s.lanes.peek().get(id), n) !== "untracked");

function offerRetrack(object: TrackedObject, frame: number): void {
  const lane = s.lanes.peek().get(object.id);
  const end = lane ? nextAccepted([lane], frame) : null;
  const where = end === null ? "to the end" : `to accepted frame ${end}`;
  s.say(`Corrected ${object.label || "object"} ${object.id}. Track it again from here ${where}? (Y)`, "info", {
    label: "Re-track",
    run: () => void retrack(),
  });
}

/** Tracks the selected object again from the frame in view; the server stops at its next accepted frame. */
export async function retrack(): Promise<void> {
  const object = s.activeObject.peek();
  if (!object) return s.say("Select the object that is to be tracked again.", "error");
  await track({ direction: "forward", start: s.frame.peek(), objects: [object.id] });
}

export async function clearPrompts(): Promise<void> {
  const id = s.active.peek();
  const frame = s.frame.peek();
  if (id === null) return s.say("Select the object whose clicks are to be cleared.", "error");
  const answer = await change((v) => api.clearPrompts(v, id, frame), { repeatable: true });
  if (!answer) return;
  if (answer.mask) place(frame, answer.mask);
  else current()?.masks.drop(frame, id);
  await refresh().catch(() => {});
  current()?.masks.want(frame, 1);
}

export async function findByWords(text: string, detector?: string, threshold?: number): Promise<number | null> {
  const frame = s.frame.peek();
  const body = { frame, text, ...(detector ? { detector } : {}), ...(threshold === undefined ? {} : { threshold }) };
  const answer = await changeAndRead((v) => api.text(v, body), { tell: false });
  if (!answer) return null;
  current()?.masks.put({ frame, objects: answer.objects.map((o) => o.mask) });
  placeMasks(
    frame,
    answer.objects.map((o) => o.mask),
  );
  return answer.objects.length;
}

export async function putMask(frame: number, id: number, counts: string): Promise<void> {
  const object = s.objects.peek().find((o) => o.id === id);
  const corrects = trackedThrough(id, frame);
  const answer = await change((v) => api.putMask(v, frame, id, counts), { repeatable: true });
  if (answer) place(frame, answer.mask);
  await refresh().catch(() => {});
  if (answer && object && corrects) offerRetrack(object, frame);
}

export async function deleteMask(): Promise<void> {
  const id = s.active.peek();
  const frame = s.frame.peek();
  if (id === null) return s.say("Select the object whose mask is to be deleted on this frame.", "error");
  const answer = await change((v) => api.deleteMask(v, frame, id), { repeatable: true });
  if (answer) current()?.masks.drop(frame, id);
  await refresh().catch(() => {});
}

// --------------------------------------------------------------------------------------------------------- objects

export async function newObject(): Promise<void> {
  s.active.value = null;
  if (!["click", "box"].includes(s.tool.peek())) s.tool.value = "click";
  s.positive.value = true;
  s.say("New object: click on it or drag a box.");
}

export async function makeObject(): Promise<number | null> {
  const object = await changeAndRead((v) => api.addObject(v, {}));
  if (object) s.active.value = object.id;
  return object?.id ?? null;
}

export async function changeObject(
  id: number,
  what: Partial<Pick<TrackedObject, "label" | "colour" | "hidden" | "locked">>,
): Promise<boolean> {
  const video = s.video.peek();
  if (video) s.video.value = { ...video, objects: video.objects.map((o) => (o.id === id ? { ...o, ...what } : o)) };
  return (await changeAndRead((v) => api.changeObject(v, id, what), { repeatable: true })) !== undefined;
}

export async function removeObject(id: number): Promise<void> {
  const object = s.objects.peek().find((o) => o.id === id);
  if (object?.locked)
    return s.say(`${object.label || "Object"} ${id} is locked. Unlock it before deleting it.`, "error");
  const done = await changeAndRead((v) => api.removeObject(v, id).then(() => true));
  current()?.masks.stale(null);
  current()?.masks.want(s.frame.peek(), 1);
  if (done) s.say(`Deleted ${object?.label || "object"} ${id}.`, "info", { label: "Undo", run: () => void undo() });
}

/** Selects the object `step` rows away; with nothing selected, the first or the last. */
export function selectNear(step: 1 | -1): void {
  const ids = s.objects.peek().map((o) => o.id);
  if (!ids.length) return;
  const at = s.active.peek() === null ? -1 : ids.indexOf(s.active.peek() as number);
  s.active.value = ids[
    at < 0 ? (step > 0 ? 0 : ids.length - 1) : Math.min(Math.max(at + step, 0), ids.length - 1)
  ] as number;
}

// ----------------------------------------------------------------------------------------------------- undo, accept

async function step(name: "undo" | "redo"): Promise<void> {
  const answer = await change((v) => api[name](v));
  if (!answer) return;
  current()?.masks.stale(null);
  s.say(answer.name ? `${name === "undo" ? "Undone" : "Done again"}: ${answer.name}` : `Nothing to ${name}.`);
  await refresh().catch(() => {});
}
export const undo = () => step("undo");
export const redo = () => step("redo");

/** Accepts the frame for all its objects (or one), or takes that back when it was accepted for all of them. */
export async function toggleAccepted(only: number | null): Promise<void> {
  const frame = s.frame.peek();
  const accepted = new Set(
    s.video
      .peek()
      ?.accepted.filter((a) => a.frame === frame)
      .map((a) => a.object_id),
  );
  const here = [...(current()?.masks.at(frame)?.keys() ?? [])].filter((id) =>
    s.objects.peek().some((o) => o.id === id),
  );
  if (!accepted.size && !here.length)
    return s.say("Nothing to accept: no object has an answer on this frame yet.", "error");
  const back = only === null ? here.every((id) => accepted.has(id)) : accepted.has(only);
  const ids = only === null ? null : [only];
  const answer = await changeAndRead((v) => (back ? api.unaccept(v, frame, ids) : api.accept(v, frame, ids)), {
    repeatable: true,
  });
  if (answer)
    s.say(
      back ? `Frame ${frame} is no longer accepted.` : `Frame ${frame} accepted: tracking stops here and keeps it.`,
    );
}

export async function setSettings(what: Partial<Settings>): Promise<void> {
  const settings = await changeAndRead((v) => api.settings(v, what), { repeatable: true });
  const video = s.video.peek();
  if (settings && video) s.video.value = { ...video, settings };
}

export function jumpToMark(step: 1 | -1, marks: readonly number[]): void {
  const here = s.frame.peek();
  const next = step > 0 ? marks.find((n) => n > here) : [...marks].reverse().find((n) => n < here);
  if (next === undefined) s.say(step > 0 ? "No mark after this frame." : "No mark before this frame.");
  else seek(next);
}
