import { describe, expect, test } from "vitest";
import { boundsOf, contains, crop, pack, runsOf, unpack } from "../src/pure/rle";
import { paint } from "../src/pure/sprite";
import values from "./rle_values.json";

const pixelsOf = (rows: string[]) => Uint8Array.from(rows.join(""), (sign) => (sign === "#" ? 1 : 0));

describe.each(values)("run lengths of pycocotools: $name", ({ counts, height, width, rows, area, bounds }) => {
  const pixels = pixelsOf(rows);
  const runs = unpack(counts);

  test("are read into the same pixels", () => {
    expect(crop(runs, height, { x: 0, y: 0, width, height })).toEqual(pixels);
    expect(runs.reduce((sum, run, i) => sum + (i % 2 ? run : 0), 0)).toBe(area);
    expect(runs.reduce((sum, run) => sum + run, 0)).toBe(height * width);
  });

  test("are written as the same string", () => {
    expect(pack(runsOf(pixels, width, height))).toBe(counts);
  });

  test("give the same bounds, and the same pixels inside them", () => {
    expect(boundsOf(runs, height)).toEqual(bounds);
    if (!bounds) return;
    const part = crop(runs, height, bounds);
    for (let y = 0; y < bounds.height; y++)
      for (let x = 0; x < bounds.width; x++)
        expect(part[y * bounds.width + x]).toBe(pixels[(y + bounds.y) * width + x + bounds.x]);
  });

  test("answer for single pixels without being decoded", () => {
    for (let y = 0; y < height; y += 3)
      for (let x = 0; x < width; x += 2)
        expect(contains(runs, height, x + 0.4, y + 0.9)).toBe(pixels[y * width + x] === 1);
  });
});

test("differences of runs beyond 20 bits survive the packing", () => {
  const runs = [2_000_000, 1, 1_999_999, 3, 5, 1_500_000];
  expect(unpack(pack(runs))).toEqual(runs);
});

test("a string that is cut off in the middle of a number is refused", () => {
  expect(() => unpack("P")).toThrow(/end in the middle/);
});

test("a painted mask has colour on its pixels only, firmer at the edge than inside", () => {
  const mask = new Uint8Array(49);
  for (let y = 1; y < 6; y++) for (let x = 1; x < 6; x++) mask[y * 7 + x] = 1;
  const rgba = paint(mask, 7, 7, "#102030", 1);
  const alpha = (x: number, y: number) => rgba[(y * 7 + x) * 4 + 3] as number;
  expect([alpha(0, 0), alpha(6, 3)]).toEqual([0, 0]);
  expect(alpha(1, 3)).toBeGreaterThan(alpha(3, 3));
  expect([...rgba.slice((3 * 7 + 3) * 4, (3 * 7 + 3) * 4 + 3)]).toEqual([0x10, 0x20, 0x30]);
});
