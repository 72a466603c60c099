/** What each command of the keyboard does; buttons use the same functions. */

import { signal } from "@preact/signals";
import { chordFor, commandOf, type Command } from "../pure/keys";
import { landmarks } from "../pure/spans";
import { confirmShape, dropShape, shape } from "../stage/editor";
import { endPreview } from "../stage/hover";
import * as pointing from "../stage/pointing";
import * as act from "./actions";
import { togglePlay } from "./play";
import * as runs from "./runs";
import { seek } from "./session";
import * as s from "./store";

/** The object whose name is being typed in the list. */
export const renaming = signal<number | null>(null);

const OUTPUTS = ["masks", "boxes", "both"] as const;

function toolIs(tool: s.Tool): void {
  if (tool !== "polygon") dropShape();
  if (tool !== "click") endPreview();
  s.tool.value = tool;
}

function withActive(run: (id: number) => void): void {
  const id = s.active.peek();
  if (id === null) s.say("Select an object first: click its name, or press the arrow keys up and down.");
  else run(id);
}

const go = (frame: number) => {
  s.playing.value = false;
  seek(frame);
};

function setRange(end: "start" | "stop"): void {
  const [start, stop] = s.range.peek() ?? [0, s.frameCount.peek()];
  const here = s.frame.peek();
  s.range.value = end === "start" ? [here, Math.max(stop, here + 1)] : [Math.min(start, here), here + 1];
}

function actualSize(): void {
  pointing.zoomBy(1 / (s.view.peek().scale * (window.devicePixelRatio || 1)));
}

function escape(): void {
  if (s.notice.peek()) s.hush();
  if (pointing.cancelHeld()) return;
  if (s.keyboardPointer.peek()) return pointing.endPointer();
  if (shape.peek()) return dropShape();
  s.active.value = null;
}

const RUN: Record<Command, () => unknown> = {
  previous: () => go(s.frame.peek() - 1),
  next: () => go(s.frame.peek() + 1),
  previous10: () => go(s.frame.peek() - 10),
  next10: () => go(s.frame.peek() + 10),
  first: () => go(0),
  last: () => go(s.frameCount.peek() - 1),
  play: togglePlay,
  previousMark: () => act.jumpToMark(-1, landmarks([...s.lanes.peek().values()])),
  nextMark: () => act.jumpToMark(1, landmarks([...s.lanes.peek().values()])),
  positive: () => {
    toolIs("click");
    s.positive.value = true;
  },
  negative: () => {
    toolIs("click");
    s.positive.value = false;
  },
  box: () => toolIs("box"),
  text: () => (s.dialog.value = "text"),
  select: () => toolIs("select"),
  brush: () => toolIs("brush"),
  eraser: () => toolIs("eraser"),
  polygon: () => toolIs("polygon"),
  thinner: () => (s.brushSize.value = Math.max(2, Math.round(s.brushSize.peek() / 1.25))),
  thicker: () => (s.brushSize.value = Math.min(200, Math.round(s.brushSize.peek() * 1.25) + 1)),
  pointer: () => {
    const video = s.video.peek();
    if (s.keyboardPointer.peek()) pointing.endPointer();
    else if (video) {
      s.keyboardPointer.value = { x: Math.floor(video.width / 2), y: Math.floor(video.height / 2) };
      s.say("Keyboard pointer: arrows move it (Shift: farther), Enter clicks, Esc ends.");
    }
  },
  preview: () => {
    s.hoverPreview.value = !s.hoverPreview.peek();
    endPreview();
  },
  confirm: () => {
    if (s.keyboardPointer.peek() && !shape.peek()?.closed) pointing.pressPointer();
    else if (s.tool.peek() === "polygon") void confirmShape();
  },
  newObject: act.newObject,
  finish: () =>
    s.active.peek() === null && !act.isStarting()
      ? s.say("Nothing to finish: click on an object first.")
      : (s.dialog.value = "finish"),
  clear: act.clearPrompts,
  previousObject: () => act.selectNear(-1),
  nextObject: () => act.selectNear(1),
  rename: () => withActive((id) => (renaming.value = id)),
  hide: () => withActive((id) => void act.changeObject(id, { hidden: !s.activeObject.peek()?.hidden })),
  hideAll: () => (s.allHidden.value = !s.allHidden.peek()),
  lock: () => withActive((id) => void act.changeObject(id, { locked: !s.activeObject.peek()?.locked })),
  deleteMask: act.deleteMask,
  remove: () => withActive((id) => void act.removeObject(id)),
  autoRun: () => runs.autoRun(),
  trackForward: () => runs.autoRun("forward"),
  trackBackward: () => runs.autoRun("backward"),
  retrack: act.retrack,
  pause: runs.togglePause,
  cancelRun: () => runs.steer("cancel"),
  rangeStart: () => setRange("start"),
  rangeStop: () => setRange("stop"),
  rangeClear: () => (s.range.value = null),
  accept: () => act.toggleAccepted(null),
  acceptObject: () => withActive((id) => void act.toggleAccepted(id)),
  undo: act.undo,
  redo: act.redo,
  labels: () => (s.dialog.value = "labels"),
  tracks: () => (s.dialog.value = "tracks"),
  export: () => (s.dialog.value = "export"),
  zoomIn: () => pointing.zoomBy(1.25),
  zoomOut: () => pointing.zoomBy(0.8),
  fit: s.fitView,
  actual: actualSize,
  tags: () => (s.tags.value = !s.tags.peek()),
  output: () => {
    const now = s.video.peek()?.settings.output ?? "masks";
    void act.setSettings({ output: OUTPUTS[(OUTPUTS.indexOf(now) + 1) % 3] ?? "masks" });
  },
  help: () => (s.dialog.value = "help"),
  escape,
};

export function perform(command: Command): void {
  if (command !== "help" && !s.video.peek()) return;
  void RUN[command]();
}

export const keysOf = chordFor;

const ARROWS: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** Whether a key belongs to the field or button that has the focus. */
function taken(event: KeyboardEvent): boolean {
  const element = event.target;
  if (!(element instanceof HTMLElement)) return false;
  if (
    element.isContentEditable ||
    element.matches(
      "textarea, select, input:not([type=checkbox]):not([type=radio]):not([type=color]):not([type=range])",
    )
  )
    return true;
  if (
    element.matches("input[type=range], [role=slider], [role=separator], [role=radio]") &&
    /^(Arrow|Home|End|Page)/.test(event.key)
  )
    return true;
  return element.matches("button, summary, a, input, label") && (event.key === " " || event.key === "Enter");
}

export function onKey(event: KeyboardEvent): void {
  if (s.dialog.peek() !== null || document.querySelector("dialog[open]") || event.isComposing || taken(event)) return;
  const step = ARROWS[event.key];
  if (s.keyboardPointer.peek() && step && !event.ctrlKey && !event.altKey) {
    const far = event.shiftKey ? 20 : 2;
    pointing.movePointer(step[0] * far, step[1] * far);
    return event.preventDefault();
  }
  const command = commandOf(event);
  if (!command) return;
  event.preventDefault();
  perform(command);
}
