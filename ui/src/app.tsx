import { useEffect, useState } from "preact/hooks";
import { api, ServerRefused } from "./api/client";
import { lineOf, Problem } from "./dialogs/dialog";
import { ExportDialog } from "./dialogs/export";
import { FinishDialog } from "./dialogs/finish";
import { HelpDialog } from "./dialogs/help";
import { LabelsDialog } from "./dialogs/labels";
import { TracksDialog } from "./dialogs/tracks";
import { VideoList, VideosDialog } from "./dialogs/videos";
import { WordsDialog } from "./dialogs/words";
import { Login } from "./parts/login";
import { ObjectList } from "./parts/objects";
import { SettingsPanel } from "./parts/settings";
import { TimelinePanel } from "./parts/timeline";
import { NoticeLine, ToolOptions, Tools } from "./parts/tools";
import { TopBar } from "./parts/topbar";
import { Transport } from "./parts/transport";
import { Stage } from "./stage/stage";
import { openVideo } from "./state/session";
import * as s from "./state/store";

/** Opens what the address names, or the only video there is; else the list is shown. */
async function start(): Promise<void> {
  s.info.value = await api.info();
  s.videos.value = await api.videos();
  const wish = new URL(location.href).searchParams;
  const named = s.videos.value.find((v) => v.id === wish.get("video"));
  const only = s.videos.value.length === 1 ? s.videos.value[0] : undefined;
  const at = wish.get("frame");
  const chosen = named ?? only;
  if (chosen) await openVideo(chosen.id, at === null ? undefined : Number(at) || 0);
}

export function App() {
  const [problem, setProblem] = useState<string | null>(null);
  const [ready, setReady] = useState(false);
  const begin = () => {
    setProblem(null);
    start().then(
      () => setReady(true),
      (error: unknown) => {
        if (error instanceof ServerRefused && error.status === 401) s.needsKey.value = true;
        else setProblem(lineOf(error));
        setReady(true);
      },
    );
  };
  useEffect(begin, []);
  if (s.needsKey.value) return <Login onDone={begin} />;
  if (problem)
    return (
      <main class="welcome">
        <div class="card">
          <h1>Keepsight</h1>
          <Problem text={problem} />
          <button type="button" class="button accent" onClick={begin}>
            Try again
          </button>
        </div>
      </main>
    );
  if (!ready)
    return (
      <main class="welcome" aria-busy="true">
        <p class="dim">Opening …</p>
      </main>
    );
  return s.video.value ? <Workplace /> : <Welcome />;
}

function Welcome() {
  return (
    <>
      <TopBar />
      <main class="welcome">
        <div class="card wide">
          <h1>Videos</h1>
          <VideoList />
        </div>
      </main>
      {s.dialog.value === "help" && <HelpDialog />}
    </>
  );
}

function Workplace() {
  return (
    <div class="workplace">
      <a class="skip" href="#objects">
        To the objects
      </a>
      <TopBar />
      <Tools />
      <main class="centre">
        <ToolOptions />
        <div class="stage-place">
          <Stage />
          <NoticeLine />
        </div>
        <Transport />
      </main>
      <aside class="side" id="objects" tabIndex={-1}>
        <ObjectList />
        <SettingsPanel />
      </aside>
      <TimelinePanel />
      <Dialogs />
    </div>
  );
}

function Dialogs() {
  switch (s.dialog.value) {
    case "help":
      return <HelpDialog />;
    case "labels":
      return <LabelsDialog />;
    case "tracks":
      return <TracksDialog />;
    case "export":
      return <ExportDialog />;
    case "finish":
      return <FinishDialog />;
    case "text":
      return <WordsDialog />;
    case "videos":
      return <VideosDialog />;
    default:
      return null;
  }
}
