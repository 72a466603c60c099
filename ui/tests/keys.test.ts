import { expect, test } from "vitest";
import { BINDINGS, chordOf, commandOf, GROUPS, spell, type Press } from "../src/pure/keys";

const press = (key: string, more: Partial<Press> = {}): Press => ({
  key,
  code: "",
  ctrlKey: false,
  metaKey: false,
  shiftKey: false,
  altKey: false,
  ...more,
});

test("no chord means two things, and no command stands twice", () => {
  const chords = BINDINGS.flatMap((b) => b.chords);
  expect(new Set(chords).size).toBe(chords.length);
  expect(new Set(BINDINGS.map((b) => b.command)).size).toBe(BINDINGS.length);
  expect(GROUPS.flatMap(([, bindings]) => bindings)).toEqual(BINDINGS);
});

test("what has a chord with Ctrl that browsers keep for themselves has another without", () => {
  const kept = new Set([
    "ctrl+b",
    "ctrl+m",
    "ctrl+s",
    "ctrl+h",
    "ctrl+l",
    "ctrl+e",
    "ctrl+f",
    "ctrl+=",
    "ctrl+-",
    "ctrl+z",
    "ctrl+shift+z",
  ]);
  for (const b of BINDINGS)
    if (b.chords.some((c) => kept.has(c)))
      expect(
        b.chords.some((c) => !c.startsWith("ctrl+")),
        b.command,
      ).toBe(true);
});

test("the keys of the desktop client do what its users expect", () => {
  const means = (key: string, more: Partial<Press> = {}) => commandOf(press(key, more));
  expect(["a", "d", "q", "e", "r", "f", "b"].map((k) => means(k))).toEqual([
    "previous",
    "next",
    "positive",
    "negative",
    "box",
    "finish",
    "clear",
  ]);
  expect(means("b", { ctrlKey: true })).toBe("autoRun");
  expect(means("m", { ctrlKey: true })).toBe("autoRun");
  expect(means("D", { shiftKey: true })).toBe("next10");
  expect(means("ArrowRight", { shiftKey: true })).toBe("next10");
  expect(means("z", { ctrlKey: true })).toBe("undo");
  expect(means("Z", { ctrlKey: true, shiftKey: true })).toBe("redo");
  expect(means("z", { metaKey: true })).toBe("undo");
  expect(means("?", { shiftKey: true })).toBe("help");
});

test("a chord that is not in the table is left to the browser", () => {
  for (const [key, more] of [
    ["t", { ctrlKey: true }],
    ["w", { ctrlKey: true }],
    ["r", { ctrlKey: true }],
    ["F5", {}],
    ["Tab", {}],
  ] as const)
    expect(commandOf(press(key, more))).toBeNull();
});

test("letters of other alphabets count by their place on the keyboard", () => {
  expect(commandOf(press("ф", { code: "KeyA" }))).toBe("previous");
  expect(commandOf(press("Я", { code: "KeyZ", ctrlKey: true, shiftKey: true }))).toBe("redo");
  expect(commandOf(press("¬", { code: "KeyL", altKey: true }))).toBe("labels");
});

test("signs that some keyboards reach with Shift only are found with it and without", () => {
  expect(commandOf(press("\\"))).toBe("rangeClear");
  expect(commandOf(press("]", { shiftKey: true }))).toBe("rangeStop");
  expect(commandOf(press("+", { shiftKey: true }))).toBe("thicker");
  expect(chordOf(press(" "))).toBe("space");
});

test("chords are spelled as keyboards print them", () => {
  expect(["ctrl+shift+z", "arrowleft", "shift+arrowright", "+", "f2"].map(spell)).toEqual([
    "Ctrl+Shift+Z",
    "←",
    "Shift+→",
    "+",
    "F2",
  ]);
});
