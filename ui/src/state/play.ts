/** Playing: one frame after the other at the video's speed; a frame that is not ready is waited for, never skipped. */

import { current, paintedAt, seek } from "./session";
import * as s from "./store";

const PATIENCE_MS = 250;

export function togglePlay(): void {
  if (s.playing.peek()) return void (s.playing.value = false);
  if (!s.video.peek()) return;
  if (s.frame.peek() >= s.frameCount.peek() - 1) seek(0);
  s.playing.value = true;
  const period = 1000 / (s.video.peek()?.fps || 25);
  let due = performance.now() + period;
  const tick = (now: number) => {
    if (!s.playing.peek()) return;
    const next = s.frame.peek() + 1;
    if (next >= s.frameCount.peek()) return void (s.playing.value = false);
    const late = now - due;
    if (late >= 0 && current()?.frames.has(next) && (paintedAt(next) || late > PATIENCE_MS)) {
      seek(next);
      due = late > 2 * period ? now + period : due + period;
    } else if (late >= 0) {
      current()?.frames.look(s.frame.peek(), 1);
    }
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}
