import { useEffect, useState } from "preact/hooks";
import type { Direction } from "../api/types";
import { chordFor } from "../pure/keys";
import { clock } from "../pure/lanes";
import { toggleAccepted } from "../state/actions";
import { perform } from "../state/commands";
import { autoRun, steer } from "../state/runs";
import { seek } from "../state/session";
import * as s from "../state/store";
import { IconButton } from "./icons";

/** Under the picture: moving through frames at the left, tracking at the right. */
export function Transport() {
  const video = s.video.value;
  if (!video) return null;
  return (
    <div class="transport">
      <div class="group" role="toolbar" aria-label="Frames">
        <IconButton icon="first" label="First frame" keys="Home" onClick={() => perform("first")} />
        <IconButton
          icon="previous"
          label="Previous frame"
          keys={chordFor("previous")}
          onClick={() => perform("previous")}
        />
        <IconButton
          icon={s.playing.value ? "pause" : "play"}
          label={s.playing.value ? "Stop" : "Play"}
          keys="Space"
          onClick={() => perform("play")}
        />
        <IconButton icon="next" label="Next frame" keys={chordFor("next")} onClick={() => perform("next")} />
        <IconButton icon="last" label="Last frame" keys="End" onClick={() => perform("last")} />
      </div>
      <FrameField />
      <span class="dim time">{clock(s.frame.value, video.fps)}</span>
      <AcceptButton />
      <span class="spring" />
      {s.running.value ? <Running /> : <TrackTools />}
    </div>
  );
}

function FrameField() {
  const [text, setText] = useState<string | null>(null);
  const frame = s.frame.value;
  useEffect(() => setText(null), [frame]);
  const go = () => {
    const wanted = Number.parseInt(text ?? "", 10);
    if (Number.isFinite(wanted)) seek(wanted);
    setText(null);
  };
  return (
    <label class="frame-field">
      <span class="visually-hidden">Go to frame</span>
      <input
        inputMode="numeric"
        value={text ?? String(frame)}
        onInput={(e) => setText(e.currentTarget.value)}
        onBlur={() => setText(null)}
        onKeyDown={(e) => {
          if (e.key === "Enter") go();
          if (e.key === "Escape") {
            setText(null);
            e.currentTarget.blur();
          }
          e.stopPropagation();
        }}
      />
      <span class="dim">/ {s.frameCount.value - 1}</span>
    </label>
  );
}

function AcceptButton() {
  const frame = s.frame.value;
  const accepted = s.video.value?.accepted.some((a) => a.frame === frame) ?? false;
  return (
    <IconButton
      icon={accepted ? "lock" : "check"}
      label={
        accepted
          ? "Accepted: tracking stops here and keeps it. Press to take that back."
          : "Accept this frame: tracking stops here and keeps it"
      }
      text={accepted ? "Accepted" : "Accept"}
      keys={chordFor("accept")}
      pressed={accepted}
      class="accept"
      onClick={() => void toggleAccepted(null)}
    />
  );
}

const DIRECTIONS: [Direction, "back" | "both" | "forth", string][] = [
  ["backward", "back", "Backward"],
  ["both", "both", "Both ways"],
  ["forward", "forth", "Forward"],
];

function TrackTools() {
  const range = s.range.value;
  const resumable = s.lastJob.value?.resumable ?? s.lastJob.value?.state === "cancelled";
  return (
    <div class="group track" role="toolbar" aria-label="Tracking">
      <span class="segments" role="group" aria-label="Direction">
        {DIRECTIONS.map(([direction, icon, name]) => (
          <IconButton
            key={direction}
            icon={icon}
            label={`Track: ${name.toLowerCase()}`}
            pressed={s.direction.value === direction}
            onClick={() => (s.direction.value = direction)}
          />
        ))}
      </span>
      <span class="range-text" title="Drag the handles on the timeline, or press [ and ] on a frame">
        {range ? (
          <>
            frames {range[0]}–{range[1] - 1}
          </>
        ) : (
          "whole video"
        )}
        {range && (
          <IconButton
            icon="close"
            label="Whole video again"
            keys="\"
            class="small quiet"
            size={13}
            onClick={() => perform("rangeClear")}
          />
        )}
      </span>
      <label class="check" title="Track only the selected object">
        <input
          type="checkbox"
          checked={s.onlyActive.value}
          disabled={s.active.value === null}
          onChange={(e) => (s.onlyActive.value = e.currentTarget.checked)}
        />
        Only selected
      </label>
      {resumable && (
        <IconButton
          icon="play"
          label="Continue the run that was stopped"
          text="Continue"
          keys="P"
          onClick={() => void steer("resume")}
        />
      )}
      <IconButton
        icon="run"
        label="Auto Run: track from this frame"
        text="Auto Run"
        keys="M"
        class="accent"
        onClick={() => void autoRun()}
      />
    </div>
  );
}

function Running() {
  const job = s.job.value;
  if (!job) return null;
  const paused = job.state === "paused";
  const share = job.total > 0 ? Math.min(1, job.done / job.total) : 0;
  return (
    <div class="group track running" role="group" aria-label="The run">
      <div class="run-state">
        <span class="ellipsis" role="status" title={job.message}>
          {paused
            ? "Paused"
            : job.message ||
              (job.state === "queued"
                ? "Waiting"
                : `Tracking ${job.direction === "both" ? "both ways" : job.direction}`)}
        </span>
        <progress
          value={job.total > 0 ? share : undefined}
          max={1}
          aria-label={`Tracked ${job.done} of ${job.total} frames`}
        />
        <span class="dim count">
          {job.done} / {job.total || "…"}
        </span>
      </div>
      <label class="check" title="Shows each frame as it is tracked">
        <input type="checkbox" checked={s.follow.value} onChange={(e) => (s.follow.value = e.currentTarget.checked)} />
        Follow
      </label>
      <IconButton
        icon={paused ? "play" : "pause"}
        label={paused ? "Resume" : "Pause"}
        text={paused ? "Resume" : "Pause"}
        keys={chordFor("pause")}
        onClick={() => perform("pause")}
      />
      <IconButton
        icon="stop"
        label="Cancel; what was tracked stays"
        text="Cancel"
        keys={chordFor("cancelRun")}
        onClick={() => perform("cancelRun")}
      />
    </div>
  );
}
