/** One typed function a route. Failures become `ServerRefused` (the server said why) or `ServerAway` (nobody answered). */

import type {
  ApiError,
  Edit,
  EditResult,
  FrameMasks,
  Info,
  Job,
  JobRequest,
  MaskItem,
  Prompt,
  PromptRequest,
  Settings,
  Span,
  Timeline,
  TrackedObject,
  Video,
  VideoLine,
} from "./types";

export class ServerRefused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export class ServerAway extends Error {
  constructor() {
    super("The server does not answer. What you did is kept and sent again when it is back.");
  }
}

const ROOT = new URL("api/", document.baseURI);

/** Names this page to the server, so that an event tells our own changes from those of others. */
export const CLIENT = Math.random().toString(36).slice(2, 10);

type Query = Record<string, string | number | undefined>;

export function address(path: string, query: Query = {}): string {
  const url = new URL(path, ROOT);
  for (const [key, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(key, String(value));
  return url.href;
}

async function refusal(response: Response): Promise<ServerRefused> {
  let code = "failed";
  let message = `The server answered ${response.status} ${response.statusText}.`;
  try {
    const body = (await response.json()) as Partial<ApiError>;
    if (body.error) ({ code, message } = body.error);
  } catch {
    // no JSON: the status line is all there is to say
  }
  return new ServerRefused(response.status, code, message);
}

export async function send(method: string, url: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = {};
  if (method !== "GET") headers["X-Keepsight-Client"] = CLIENT;
  const raw = body instanceof Blob;
  if (body !== undefined && !raw) headers["Content-Type"] = "application/json";
  let response: Response;
  try {
    const payload = body === undefined ? null : raw ? body : JSON.stringify(body);
    response = await fetch(url, { method, headers, body: payload, signal: signal ?? null, credentials: "same-origin" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ServerAway();
  }
  if (response.status === 502 || response.status === 504) throw new ServerAway();
  if (!response.ok) throw await refusal(response);
  return response;
}

async function ask<T>(method: string, path: string, body?: unknown, query?: Query, signal?: AbortSignal): Promise<T> {
  const response = await send(method, address(path, query), body, signal);
  return (response.status === 204 ? null : await response.json()) as T;
}

const get = <T>(path: string, query?: Query, signal?: AbortSignal) => ask<T>("GET", path, undefined, query, signal);
const of = (video: string, rest = "") => `videos/${encodeURIComponent(video)}${rest}`;

interface Revised {
  revision: number;
}

export const api = {
  login: (key: string) => ask<unknown>("POST", "login", { key }),
  info: () => get<Info>("info"),
  videos: () => get<VideoLine[]>("videos"),
  addVideo: (path: string) => ask<VideoLine>("POST", "videos", { path }),
  upload: (file: File) => ask<VideoLine>("POST", "uploads", file, { name: file.name }),
  video: (v: string) => get<Video>(of(v)),
  settings: (v: string, change: Partial<Settings>) => ask<Settings>("PATCH", of(v, "/settings"), change),
  lookAt: (v: string, what: { frame: number; object_id?: number | null; points?: PromptRequest["points"] }) =>
    ask<unknown>("POST", of(v, "/look"), what),
  frameUrl: (v: string, n: number, width?: number) => address(of(v, `/frames/${n}.jpg`), { width }),
  masks: (v: string, [start, stop]: Span, signal?: AbortSignal) =>
    get<Revised & { frames: FrameMasks[] }>(of(v, "/masks"), { start, stop }, signal),
  timeline: (v: string) => get<Timeline>(of(v, "/timeline")),
  prompt: (v: string, what: PromptRequest) =>
    ask<Revised & { object: TrackedObject; mask: MaskItem; prompt_id: Prompt["id"] }>("POST", of(v, "/prompts"), what),
  preview: (v: string, what: PromptRequest & { quick?: boolean }, signal?: AbortSignal) =>
    ask<{ mask: MaskItem | null }>("POST", of(v, "/preview"), what, undefined, signal),
  clearPrompts: (v: string, id: number, frame: number) =>
    ask<Revised & { mask: MaskItem | null }>("DELETE", of(v, `/objects/${id}/prompts`), undefined, { frame }),
  text: (v: string, what: { frame: number; text: string; detector?: string; threshold?: number }) =>
    ask<Revised & { objects: { object: TrackedObject; mask: MaskItem }[] }>("POST", of(v, "/text"), what),
  putMask: (v: string, frame: number, id: number, counts: string) =>
    ask<Revised & { mask: MaskItem }>("PUT", of(v, `/masks/${frame}/${id}`), { counts }),
  deleteMask: (v: string, frame: number, id: number) => ask<Revised>("DELETE", of(v, `/masks/${frame}/${id}`)),
  addObject: (v: string, what: { label?: string; colour?: string }) =>
    ask<TrackedObject>("POST", of(v, "/objects"), what),
  changeObject: (v: string, id: number, change: Partial<Omit<TrackedObject, "id" | "position">>) =>
    ask<TrackedObject>("PATCH", of(v, `/objects/${id}`), change),
  removeObject: (v: string, id: number) => ask<unknown>("DELETE", of(v, `/objects/${id}`)),
  edit: (v: string, edit: Edit, preview: boolean, confirm = false) =>
    ask<EditResult>("POST", of(v, "/edits"), { ...edit, preview, ...(confirm ? { confirm } : {}) }),
  accept: (v: string, frame: number, objects: number[] | null) =>
    ask<Revised & { accepted: Video["accepted"] }>("POST", of(v, "/accepted"), { frame, object_ids: objects }),
  unaccept: (v: string, frame: number, objects: number[] | null) =>
    ask<Revised & { accepted: Video["accepted"] }>("DELETE", of(v, "/accepted"), { frame, object_ids: objects }),
  undo: (v: string) => ask<Revised & { name: string | null }>("POST", of(v, "/undo")),
  redo: (v: string) => ask<Revised & { name: string | null }>("POST", of(v, "/redo")),
  startJob: (v: string, what: JobRequest) => ask<Job>("POST", of(v, "/jobs"), what),
  steerJob: (v: string, job: Job["id"], how: "pause" | "resume" | "cancel") =>
    ask<Job>("POST", of(v, `/jobs/${job}/${how}`)),
  jobs: (v: string) => get<Job[]>(of(v, "/jobs")),
  eventsUrl: (v: string, since: number) => address(of(v, "/events"), { since, client: CLIENT }),
  exportUrl: (v: string, format: string) => address(of(v, "/export"), { format }),
};
