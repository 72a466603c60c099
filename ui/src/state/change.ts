/** Sending changes: one after the other, each at most once, with the server's line shown when it refuses. */

import { ServerAway, ServerRefused } from "../api/client";
import { current, refresh } from "./session";
import * as s from "./store";

interface How {
  /** False: a refusal is thrown, for a dialog that shows it itself. */
  tell?: boolean;
  /** True: doing it twice is the same as doing it once, so it may always be sent again. */
  repeatable?: boolean;
}

let tail: Promise<unknown> = Promise.resolve();

/**
 * Sends one change after those before it. When the connection breaks meanwhile, waits for it, and sends again only if the
 * project still says what it said before, so that nothing is lost and nothing is done twice.
 *
 * Returns undefined when the server refused; the person has then been told.
 */
export function change<T>(send: (video: string) => Promise<T>, how: How = {}): Promise<T | undefined> {
  const turn = tail.then(() => attempt(send, how));
  tail = turn.catch(() => {});
  return turn;
}

/** What the project says, but for what counts on by itself. (The revision starts anew with the server, so it cannot tell.) */
function contents(): string {
  const video = s.video.peek();
  if (!video) return "";
  const { objects, prompts, accepted, undo, redo, settings } = video;
  return JSON.stringify([objects, prompts, accepted, saidByPeople(undo), saidByPeople(redo), settings]);
}

/** A run that the server lost ends as a step of undo: the project says so, and yet nobody has changed anything. */
const saidByPeople = (step: string | null) =>
  step && /^(track|look for '.*' on) \d+ frames?$/.test(step) ? null : step;

async function attempt<T>(
  send: (video: string) => Promise<T>,
  { tell = true, repeatable = false }: How,
): Promise<T | undefined> {
  s.busy.value++;
  try {
    for (;;) {
      const open = current();
      if (!open) return undefined;
      const before = contents();
      try {
        return await send(open.id);
      } catch (error) {
        if (error instanceof ServerAway) {
          await open.live.restored();
          if (current() !== open) return undefined;
          if (repeatable || contents() === before) continue;
          s.say(
            "Connected again. Please check whether your last change is there; others may have changed the project.",
          );
          return undefined;
        }
        if (!tell) throw error;
        if (error instanceof ServerRefused && error.status === 401) s.needsKey.value = true;
        s.say(error instanceof Error ? error.message : String(error), "error");
        return undefined;
      }
    }
  } finally {
    s.busy.value--;
  }
}

/** A change after which the objects, prompts and lanes are read again. */
export async function changeAndRead<T>(send: (video: string) => Promise<T>, how: How = {}): Promise<T | undefined> {
  const answer = await change(send, how);
  await refresh().catch(() => {});
  return answer;
}
