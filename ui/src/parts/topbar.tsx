import { chordFor } from "../pure/keys";
import { redo, undo } from "../state/actions";
import * as s from "../state/store";
import { dark, switchTheme } from "../state/theme";
import { Icon, IconButton } from "./icons";

export function TopBar() {
  const video = s.video.value;
  return (
    <header class="topbar">
      <span class="brand">
        <Icon name="eye" size={20} />
        Keepsight
      </span>
      {video && (
        <button
          type="button"
          class="button video-name"
          onClick={() => (s.dialog.value = "videos")}
          title="Open another video"
          aria-haspopup="dialog"
        >
          <Icon name="film" />
          <span class="ellipsis">{video.name}</span>
          <span class="dim">
            {video.width}×{video.height} · {round(video.fps)} fps
          </span>
        </button>
      )}
      {video && (
        <div class="group">
          <IconButton
            icon="undo"
            label={video.undo ? `Undo: ${video.undo}` : "Nothing to undo"}
            keys="Ctrl+Z"
            disabled={!video.undo}
            onClick={() => void undo()}
          />
          <IconButton
            icon="redo"
            label={video.redo ? `Do again: ${video.redo}` : "Nothing to do again"}
            keys="Ctrl+Shift+Z"
            disabled={!video.redo}
            onClick={() => void redo()}
          />
        </div>
      )}
      <span class="spring" />
      <ConnectionState />
      {s.people.value > 1 && (
        <span
          class="people"
          role="status"
          title={`${s.people.value} people have this video open; changes of others appear here as they are made`}
        >
          <Icon name="people" />
          {s.people.value}
          <span class="visually-hidden"> people have this video open</span>
        </span>
      )}
      {video && (
        <div class="group">
          <IconButton
            icon="tag"
            label="Label manager"
            text="Labels"
            keys={chordFor("labels")}
            onClick={() => (s.dialog.value = "labels")}
          />
          <IconButton
            icon="tracks"
            label="Track manager"
            text="Tracks"
            keys={chordFor("tracks")}
            onClick={() => (s.dialog.value = "tracks")}
          />
          <IconButton
            icon="export"
            label="Export"
            text="Export"
            keys={chordFor("export")}
            onClick={() => (s.dialog.value = "export")}
          />
        </div>
      )}
      <IconButton
        icon={dark.value ? "sun" : "moon"}
        label={dark.value ? "Light colours" : "Dark colours"}
        onClick={switchTheme}
      />
      <IconButton icon="help" label="Shortcuts" keys="?" onClick={() => (s.dialog.value = "help")} />
    </header>
  );
}

function ConnectionState() {
  if (!s.video.value) return null;
  if (s.connection.value === "lost")
    return (
      <span class="connection lost" role="alert">
        <Icon name="warning" />
        Connection lost: trying again. What you did is kept.
      </span>
    );
  if (s.connection.value === "connecting")
    return (
      <span class="connection" role="status">
        Connecting …
      </span>
    );
  return (
    <span class="connection open" role="status" title="Connected: every change is saved at once">
      <i class="dot" />
      Saved
    </span>
  );
}

const round = (fps: number) => Math.round(fps * 100) / 100;
