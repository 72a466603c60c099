/** Everything the page shows, as signals. The server's project is the truth; this is a view of it. */

import { computed, signal } from "@preact/signals";
import type { Info, Job, Lane, Span, Timeline, TrackedObject, Video, VideoLine } from "../api/types";
import { fit, type View } from "../pure/view";
import { whole, type Window } from "../pure/lanes";

export type Tool = "select" | "click" | "box" | "brush" | "eraser" | "polygon";
export type DialogName = "help" | "labels" | "tracks" | "export" | "finish" | "text" | "videos" | null;
export type Connection = "connecting" | "open" | "lost";

export const info = signal<Info | null>(null);
export const videos = signal<VideoLine[] | null>(null);
export const needsKey = signal(false);

export const video = signal<Video | null>(null);
export const timeline = signal<Timeline | null>(null);
export const job = signal<Job | null>(null);
/** The newest run of this video that ended, so that it can be resumed. */
export const lastJob = signal<Job | null>(null);
export const connection = signal<Connection>("connecting");
export const people = signal(1);

/** The frame asked for, and the one on the stage: they differ while a frame is on its way. */
export const frame = signal(0);
export const shown = signal(0);
export const heading = signal<1 | -1>(1);
export const playing = signal(false);

export const active = signal<number | null>(null);
export const hovered = signal<number | null>(null);
export const tool = signal<Tool>("click");
export const positive = signal(true);
export const brushSize = signal(24);
export const hoverPreview = signal(false);
export const keyboardPointer = signal<{ x: number; y: number } | null>(null);
export const busy = signal(0);

export const range = signal<Span | null>(null);
export const direction = signal<"forward" | "backward" | "both">("forward");
export const onlyActive = signal(false);
/** Whether the view goes along with the run: one's own runs, until one moves oneself; never those of others. */
export const follow = signal(false);

export const view = signal<View>({ scale: 1, x: 0, y: 0 });
export const stageSize = signal({ width: 1, height: 1 });
export const fitted = signal(true);
export const lanesWindow = signal<Window>(whole(1));
export const allHidden = signal(false);
export const tags = signal(true);
export const dialog = signal<DialogName>(null);

export interface Notice {
  kind: "error" | "info";
  text: string;
  action?: { label: string; run: () => void };
}
export const notice = signal<Notice | null>(null);

/** Raised when masks or painted masks arrive, so that the stage is drawn again. */
export const painted = signal(0);

/** Raised when masks arrive: scores and boxes have changed, not only pictures. */
export const masksRead = signal(0);

export const objects = computed<TrackedObject[]>(() =>
  [...(video.value?.objects ?? [])].sort((a, b) => a.position - b.position || a.id - b.id),
);
export const activeObject = computed(() => objects.value.find((o) => o.id === active.value) ?? null);
export const lanes = computed<Map<number, Lane>>(
  () => new Map((timeline.value?.lanes ?? []).map((lane) => [lane.id, lane])),
);
export const labels = computed(() => [...new Set(objects.value.flatMap((o) => o.label || []))].sort());
export const frameCount = computed(() => video.value?.frame_count ?? 0);
export const running = computed(() => job.value !== null && ["queued", "running", "paused"].includes(job.value.state));

export function fitView(): void {
  const now = video.peek();
  if (!now) return;
  view.value = fit(now, stageSize.peek());
  fitted.value = true;
}

let clearing: ReturnType<typeof setTimeout> | undefined;

/** Says one line over the picture; errors stay longer. */
export function say(text: string, kind: Notice["kind"] = "info", action?: Notice["action"]): void {
  clearTimeout(clearing);
  notice.value = action ? { kind, text, action } : { kind, text };
  clearing = setTimeout(() => (notice.value = null), kind === "error" ? 12_000 : action ? 9_000 : 4_000);
}

export function hush(): void {
  clearTimeout(clearing);
  notice.value = null;
}
