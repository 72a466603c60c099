/** What the server's native API sends and takes. Frames are 0-based, `stop` is exclusive, coordinates are pixels of the source frame. */

export type Span = [start: number, stop: number];
export type Point = [x: number, y: number, positive: 0 | 1];
export type Box = [x1: number, y1: number, x2: number, y2: number];
export type Output = "masks" | "boxes" | "both";
export type Direction = "forward" | "backward" | "both";

export interface ApiError {
  error: { code: string; message: string };
}

export interface Info {
  version: string;
  device: string;
  default_model: string;
  default_policy: string;
  models: { name: string; available: boolean; note: string }[];
  policies: { name: string; summary: string }[];
  detectors: { name: string; words: boolean; available: boolean }[];
  formats: { name: string; summary: string }[];
  limits: { low_score?: number; upload_bytes?: number } & Record<string, number | undefined>;
  output: Output;
}

/** `interrupted`: the server went away in the middle of it. */
export type JobState = "queued" | "running" | "paused" | "finished" | "cancelled" | "failed" | "interrupted";

export interface Job {
  id: string | number;
  state: JobState;
  direction: Direction;
  /** The frame that was tracked last; null before the first. */
  frame: number | null;
  done: number;
  total: number;
  message: string;
  objects: number[] | null;
  /** Whether a run that ended before its time can be continued. */
  resumable?: boolean;
}

export interface VideoLine {
  id: string;
  name: string;
  /** Known once the video has been opened. */
  width: number | null;
  height: number | null;
  fps: number | null;
  frame_count: number | null;
  objects: number;
  frames_done: number;
  job: Job | null;
}

export interface TrackedObject {
  id: number;
  label: string | null;
  colour: string;
  hidden: boolean;
  locked: boolean;
  position: number;
}

export interface Prompt {
  id: number;
  object_id: number;
  frame: number;
  points: Point[];
  box: Box | null;
  mask: boolean;
}

export interface Settings {
  model: string;
  policy: string;
  non_overwrite: boolean;
  output: Output;
}

export interface Video {
  id: string;
  name: string;
  width: number;
  height: number;
  fps: number;
  frame_count: number;
  frames_done: number;
  job: Job | null;
  revision: number;
  objects: TrackedObject[];
  prompts: Prompt[];
  accepted: { frame: number; object_id: number }[];
  undo: string | null;
  redo: string | null;
  settings: Settings;
  notes: string[];
}

export interface MaskItem {
  id: number;
  /** COCO compressed run lengths, column by column; the size is the video's. */
  counts: string;
  area: number;
  box: Box | null;
  score: number;
  presence: number;
  source: string;
}

export interface FrameMasks {
  frame: number;
  objects: MaskItem[];
}

export interface Lane {
  id: number;
  present: Span[];
  absent: Span[];
  low: Span[];
  prompted: number[];
  corrected: number[];
  edited: number[];
  accepted: number[];
}

export interface Timeline {
  revision: number;
  done: Span[];
  lanes: Lane[];
}

export interface PromptRequest {
  object_id: number | null;
  frame: number;
  points: Point[];
  box: Box | null;
  mask: string | null;
  label?: string;
  replace: boolean;
}

export interface JobRequest {
  direction: Direction;
  /** The frame to track from; it lies in `[first, stop)`, which the run does not leave. */
  start: number;
  first?: number;
  stop?: number;
  objects?: number[];
  text?: string;
  detector?: string;
  threshold?: number;
}

export type Edit =
  | { kind: "relabel"; from_label: string | null; to_label: string; start?: number; stop?: number }
  | { kind: "delete_label"; label: string | null; start?: number; stop?: number }
  | { kind: "colour_label"; label: string | null; colour: string; start?: number; stop?: number }
  | { kind: "hide_label"; label: string | null; hidden: boolean; start?: number; stop?: number }
  | { kind: "lock_label"; label: string | null; locked: boolean; start?: number; stop?: number }
  | { kind: "change_id"; object_id: number; to: number }
  | { kind: "merge"; object_id: number; into: number; keep: "into" | "from" | "union" }
  | { kind: "split"; object_id: number; frame: number }
  | { kind: "swap"; a: number; b: number; start: number; stop?: number }
  | { kind: "delete_range"; object_id: number; start: number; stop: number };

export interface EditResult {
  summary: string;
  warning: string | null;
  objects: number;
  frames: number;
  conflicts: number;
  revision: number;
}

export interface Changed {
  revision: number;
  what: ("objects" | "prompts" | "masks" | "accepted" | "settings")[];
  frames: Span | null;
  by: string | null;
}
