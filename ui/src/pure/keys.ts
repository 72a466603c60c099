/** The keyboard: one table, from which keys are matched and the list of shortcuts is drawn. */

export type Command =
  | "previous"
  | "next"
  | "previous10"
  | "next10"
  | "first"
  | "last"
  | "play"
  | "previousMark"
  | "nextMark"
  | "positive"
  | "negative"
  | "box"
  | "text"
  | "select"
  | "brush"
  | "eraser"
  | "polygon"
  | "pointer"
  | "preview"
  | "newObject"
  | "finish"
  | "clear"
  | "previousObject"
  | "nextObject"
  | "rename"
  | "hide"
  | "hideAll"
  | "lock"
  | "remove"
  | "deleteMask"
  | "autoRun"
  | "trackForward"
  | "trackBackward"
  | "retrack"
  | "rangeStart"
  | "rangeStop"
  | "rangeClear"
  | "pause"
  | "cancelRun"
  | "accept"
  | "acceptObject"
  | "undo"
  | "redo"
  | "export"
  | "labels"
  | "tracks"
  | "help"
  | "zoomIn"
  | "zoomOut"
  | "fit"
  | "actual"
  | "tags"
  | "output"
  | "thinner"
  | "thicker"
  | "escape"
  | "confirm";

export interface Binding {
  command: Command;
  /** Chords such as `shift+a`; the first is the one that buttons show. */
  chords: string[];
  says: string;
}

export const GROUPS: [name: string, bindings: Binding[]][] = [
  [
    "Frames",
    [
      { command: "previous", chords: ["a", "arrowleft"], says: "Previous frame" },
      { command: "next", chords: ["d", "arrowright"], says: "Next frame" },
      { command: "previous10", chords: ["shift+a", "shift+arrowleft"], says: "10 frames back" },
      { command: "next10", chords: ["shift+d", "shift+arrowright"], says: "10 frames on" },
      { command: "first", chords: ["home"], says: "First frame" },
      { command: "last", chords: ["end"], says: "Last frame" },
      { command: "play", chords: ["space", "k"], says: "Play or stop" },
      { command: "previousMark", chords: ["pageup"], says: "Previous prompt, correction, gap or accepted frame" },
      { command: "nextMark", chords: ["pagedown"], says: "Next of these" },
    ],
  ],
  [
    "Pointing",
    [
      { command: "positive", chords: ["q"], says: "Click: belongs to the object" },
      { command: "negative", chords: ["e"], says: "Click: does not belong (so does the right button)" },
      { command: "box", chords: ["r"], says: "Drag a box" },
      { command: "text", chords: ["t"], says: "Find by words" },
      { command: "select", chords: ["s"], says: "Select objects in the picture" },
      { command: "brush", chords: ["w"], says: "Brush: add to the mask" },
      { command: "eraser", chords: ["shift+w"], says: "Eraser: take from the mask" },
      { command: "polygon", chords: ["g"], says: "Polygon: pull at the mask's outline or draw a new one" },
      { command: "thinner", chords: ["-"], says: "Smaller brush" },
      { command: "thicker", chords: ["=", "+", "shift++"], says: "Larger brush" },
      { command: "pointer", chords: ["j"], says: "Keyboard pointer: arrows move it, Enter clicks" },
      { command: "preview", chords: ["i"], says: "Preview of the mask under the pointer, on or off" },
      { command: "confirm", chords: ["enter"], says: "Click with the keyboard pointer; close a polygon" },
    ],
  ],
  [
    "Objects",
    [
      { command: "newObject", chords: ["n"], says: "New object: the next click starts it" },
      { command: "finish", chords: ["f"], says: "Finish the object: label and id" },
      { command: "clear", chords: ["b"], says: "Clear the object's clicks and box on this frame" },
      { command: "previousObject", chords: ["arrowup"], says: "Select the object above" },
      { command: "nextObject", chords: ["arrowdown"], says: "Select the object below" },
      { command: "rename", chords: ["f2", "ctrl+e"], says: "Rename the selected object" },
      { command: "hide", chords: ["h"], says: "Hide or show it" },
      { command: "hideAll", chords: ["shift+h", "ctrl+h"], says: "Hide or show all masks" },
      { command: "lock", chords: ["l"], says: "Lock or unlock it" },
      { command: "deleteMask", chords: ["delete"], says: "Delete its mask on this frame" },
      { command: "remove", chords: ["shift+delete"], says: "Delete the object" },
    ],
  ],
  [
    "Tracking",
    [
      {
        command: "autoRun",
        chords: ["m", "ctrl+m", "ctrl+b"],
        says: "Auto Run: track in the chosen direction and range",
      },
      { command: "trackForward", chords: ["."], says: "Track forward from here" },
      { command: "trackBackward", chords: [","], says: "Track backward from here" },
      { command: "retrack", chords: ["y"], says: "Re-track the selected object from here to its next accepted frame" },
      { command: "pause", chords: ["p"], says: "Pause or resume the run" },
      { command: "cancelRun", chords: ["x"], says: "Cancel the run; what was tracked stays" },
      { command: "rangeStart", chords: ["["], says: "Range starts here" },
      { command: "rangeStop", chords: ["]"], says: "Range ends here" },
      { command: "rangeClear", chords: ["\\"], says: "Whole video again" },
      { command: "accept", chords: ["v"], says: "Accept this frame, or take that back" },
      { command: "acceptObject", chords: ["shift+v"], says: "Accept only the selected object on it" },
    ],
  ],
  [
    "Page",
    [
      { command: "undo", chords: ["ctrl+z", "u"], says: "Undo" },
      { command: "redo", chords: ["ctrl+shift+z", "shift+u", "ctrl+y"], says: "Redo" },
      { command: "labels", chords: ["alt+l"], says: "Label manager" },
      { command: "tracks", chords: ["alt+g"], says: "Track manager" },
      { command: "export", chords: ["ctrl+s", "shift+s"], says: "Export" },
      { command: "zoomIn", chords: ["2", "ctrl+="], says: "Zoom in (so does the wheel)" },
      { command: "zoomOut", chords: ["1", "ctrl+-"], says: "Zoom out" },
      { command: "fit", chords: ["0", "ctrl+f"], says: "Whole frame" },
      { command: "actual", chords: ["9"], says: "One pixel for one pixel" },
      { command: "tags", chords: ["shift+l", "ctrl+l"], says: "Names on the picture, on or off" },
      { command: "output", chords: ["o"], says: "Masks, boxes or both" },
      { command: "help", chords: ["?", "shift+?"], says: "These shortcuts" },
      { command: "escape", chords: ["escape"], says: "Leave the tool, the pointer or the dialog" },
    ],
  ],
];

export const BINDINGS: Binding[] = GROUPS.flatMap(([, bindings]) => bindings);
const BY_CHORD = new Map(
  BINDINGS.flatMap((binding) => binding.chords.map((chord) => [chord, binding.command] as const)),
);

export interface Press {
  key: string;
  code: string;
  ctrlKey: boolean;
  metaKey: boolean;
  shiftKey: boolean;
  altKey: boolean;
}

/** A key press as a chord. Letters of other alphabets count as the Latin letter on the same key. */
export function chordOf(press: Press): string {
  let key = press.key === " " ? "space" : press.key.toLowerCase();
  const letter = /^Key([A-Z])$/.exec(press.code);
  if (letter && (!/^[a-z]$/.test(key) || press.altKey)) key = (letter[1] as string).toLowerCase();
  const held = [
    press.ctrlKey || press.metaKey ? "ctrl+" : "",
    press.altKey ? "alt+" : "",
    press.shiftKey ? "shift+" : "",
  ];
  return held.join("") + key;
}

export function commandOf(press: Press): Command | null {
  const chord = chordOf(press);
  const found = BY_CHORD.get(chord);
  if (found) return found;
  // Signs that need Shift on some keyboards and not on others.
  return /^shift\+[^a-z0-9]$/.test(chord) ? (BY_CHORD.get(chord.slice(6)) ?? null) : null;
}

const NAMES: Record<string, string> = {
  arrowleft: "←",
  arrowright: "→",
  arrowup: "↑",
  arrowdown: "↓",
  space: "Space",
  home: "Home",
  end: "End",
  pageup: "Page Up",
  pagedown: "Page Down",
  delete: "Del",
  escape: "Esc",
  enter: "Enter",
  ctrl: "Ctrl",
  shift: "Shift",
  alt: "Alt",
};

export function spell(chord: string): string {
  const keys = chord.endsWith("++")
    ? [...chord.slice(0, -2).split("+"), "+"]
    : chord.length === 1
      ? [chord]
      : chord.split("+");
  return keys.map((key) => NAMES[key] ?? (key.length === 1 ? key.toUpperCase() : key.toUpperCase())).join("+");
}

export function chordFor(command: Command): string {
  const binding = BINDINGS.find((b) => b.command === command);
  return binding ? spell(binding.chords[0] as string) : "";
}
