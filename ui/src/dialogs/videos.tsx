import { useEffect, useState } from "preact/hooks";
import { api, ServerRefused } from "../api/client";
import { openVideo } from "../state/session";
import * as s from "../state/store";
import { Icon } from "../parts/icons";
import { Dialog, lineOf, Problem } from "./dialog";

async function read(): Promise<void> {
  s.videos.value = await api.videos();
}

/** All videos of the server, and two ways to add one. */
export function VideoList() {
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState<string | null>(null);
  const [path, setPath] = useState("");
  useEffect(() => {
    read().catch((error: unknown) => setProblem(lineOf(error)));
  }, []);
  const act = async (what: string, run: () => Promise<void>) => {
    setBusy(what);
    setProblem(null);
    try {
      await run();
    } catch (error) {
      if (error instanceof ServerRefused && error.status === 401) s.needsKey.value = true;
      setProblem(lineOf(error));
    } finally {
      setBusy(null);
    }
  };
  const add = (event: Event) => {
    event.preventDefault();
    void act("Opening …", async () => openVideo((await api.addVideo(path)).id));
  };
  const upload = (file: File | undefined) => {
    if (file) void act(`Uploading ${file.name} …`, async () => openVideo((await api.upload(file)).id));
  };
  const here = s.video.value?.id;
  return (
    <div class="videos">
      <Problem text={problem} />
      {busy && <p role="status">{busy}</p>}
      <ul>
        {(s.videos.value ?? []).map((v) => (
          <li key={v.id}>
            <button
              type="button"
              class={`video-line ${v.id === here ? "chosen" : ""}`}
              {...(v.id === here ? { "data-first": true } : {})}
              onClick={() => void act("Opening …", () => openVideo(v.id))}
            >
              {v.width === null ? (
                <span class="no-picture">
                  <Icon name="film" />
                </span>
              ) : (
                <img src={api.frameUrl(v.id, 0, 160)} alt="" width={96} height={54} loading="lazy" />
              )}
              <span class="about">
                <b class="ellipsis">{v.name}</b>
                <span class="dim">
                  {v.width !== null && `${v.width}×${v.height} · ${v.frame_count} frames · `}
                  {v.objects} {v.objects === 1 ? "object" : "objects"}
                </span>
              </span>
              <span class="done-share">
                {v.frame_count !== null && (
                  <progress max={Math.max(1, v.frame_count)} value={v.frames_done} aria-label="Frames tracked" />
                )}
                <span class="dim">
                  {v.job?.state === "running"
                    ? "tracking"
                    : v.frame_count === null
                      ? "not opened yet"
                      : `${v.frames_done} of ${v.frame_count} frames`}
                </span>
              </span>
            </button>
          </li>
        ))}
        {s.videos.value?.length === 0 && <li class="dim">No videos yet.</li>}
      </ul>
      <div class="add">
        <form onSubmit={add} class="row">
          <label>
            A file on the server
            <input value={path} placeholder="videos/clip.mp4" onInput={(e) => setPath(e.currentTarget.value)} />
          </label>
          <button type="submit" class="button" disabled={!path.trim() || busy !== null}>
            Open
          </button>
        </form>
        <label class="button upload">
          <Icon name="export" />
          Upload from this computer
          <input type="file" accept="video/*" onChange={(e) => upload(e.currentTarget.files?.[0])} />
        </label>
      </div>
    </div>
  );
}

export function VideosDialog() {
  return (
    <Dialog title="Videos" wide>
      <VideoList />
    </Dialog>
  );
}
