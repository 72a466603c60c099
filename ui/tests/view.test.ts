import { describe, expect, test } from "vitest";
import { nearestEdge, outline, simplify, type Vertex } from "../src/pure/polygon";
import { clampTo, fit, inReach, toFrame, zoomed } from "../src/pure/view";

const frame = { width: 1920, height: 1080 };
const stage = { width: 900, height: 500 };

describe("the view", () => {
  test("fits the whole frame into the stage, centred", () => {
    const view = fit(frame, stage);
    const [left, right] = [view.x, view.x + frame.width * view.scale];
    const [top, bottom] = [view.y, view.y + frame.height * view.scale];
    expect(left).toBeGreaterThanOrEqual(0);
    expect(left + right).toBeCloseTo(stage.width, 6);
    expect(top + bottom).toBeCloseTo(stage.height, 6);
    expect(Math.min(left, top)).toBeCloseTo(8, 6);
  });

  test("zooming leaves the pixel under the pointer where it is, both ways", () => {
    const before = fit(frame, stage);
    const at = { x: 321, y: 123 };
    for (const factor of [1.7, 6, 0.9]) {
      const after = zoomed(before, factor, at, frame, stage);
      expect(toFrame(after, at.x, at.y).x).toBeCloseTo(toFrame(before, at.x, at.y).x, 6);
      expect(toFrame(after, at.x, at.y).y).toBeCloseTo(toFrame(before, at.x, at.y).y, 6);
    }
  });

  test("zoom has ends, and the frame cannot be lost from view", () => {
    expect(zoomed(fit(frame, stage), 1e9, { x: 0, y: 0 }, frame, stage).scale).toBe(40);
    const away = inReach({ scale: 1, x: -99_999, y: 99_999 }, frame, stage);
    expect(away.x + frame.width).toBeGreaterThanOrEqual(48);
    expect(away.y).toBeLessThanOrEqual(stage.height - 48);
  });

  test("a click beside the frame becomes its nearest pixel", () => {
    expect(clampTo(frame, -4, 2000)).toEqual({ x: 0, y: 1079 });
  });
});

function filled(rows: string[]) {
  return {
    pixels: Uint8Array.from(rows.join(""), (c) => Number(c === "#")),
    width: (rows[0] as string).length,
    height: rows.length,
  };
}

/** Pixels whose middle lies inside the ring. */
function inside(ring: readonly Vertex[], width: number, height: number): string[] {
  return Array.from({ length: height }, (_, y) =>
    Array.from({ length: width }, (_, x) => {
      let odd = false;
      ring.forEach(([ax, ay], i) => {
        const [bx, by] = ring[(i + 1) % ring.length] as Vertex;
        if (ay > y + 0.5 !== by > y + 0.5 && x + 0.5 < ((bx - ax) * (y + 0.5 - ay)) / (by - ay) + ax) odd = !odd;
      });
      return odd ? "#" : ".";
    }).join(""),
  );
}

describe("the outline of a mask", () => {
  test.each([
    { name: "one pixel", rows: ["...", ".#.", "..."] },
    { name: "an L that touches the border", rows: ["##..", "#...", "####"] },
    { name: "pixels that touch at corners only belong together", rows: ["#....", ".##..", ".##..", "....."] },
    {
      name: "the larger of two parts",
      rows: ["##...", ".....", "..###", "..###"],
      largest: [".....", ".....", "..###", "..###"],
    },
    {
      name: "a hole is inside the outer outline",
      rows: ["#####", "#...#", "#####"],
      largest: ["#####", "#####", "#####"],
    },
  ])("$name", ({ rows, largest }) => {
    const { pixels, width, height } = filled(rows);
    expect(inside(outline(pixels, width, height), width, height)).toEqual(largest ?? rows);
  });

  test("of an empty mask has no corners", () => {
    expect(outline(new Uint8Array(12), 4, 3)).toEqual([]);
  });

  test("simplified to its four corners, it still fills the rectangle", () => {
    const { pixels, width, height } = filled(["........", ".######.", ".######.", ".######.", "........"]);
    const ring = simplify(outline(pixels, width, height), 0.5);
    expect(new Set(ring.map(String))).toEqual(new Set(["1,1", "7,1", "7,4", "1,4"]));
  });

  test("simplified, a disc keeps within the tolerance", () => {
    const size = 81;
    const pixels = Uint8Array.from({ length: size * size }, (_, i) =>
      Number(((i % size) - 40) ** 2 + (Math.floor(i / size) - 40) ** 2 < 900),
    );
    const full = outline(pixels, size, size);
    const ring = simplify(full, 1.5);
    expect(ring.length).toBeLessThan(full.length / 4);
    for (const [x, y] of full) expect(nearestEdge(ring, x, y).away).toBeLessThanOrEqual(1.5 + 1e-9);
  });

  test("the nearest edge is where a new corner belongs", () => {
    const square: Vertex[] = [
      [0, 0],
      [10, 0],
      [10, 10],
      [0, 10],
    ];
    expect(nearestEdge(square, 5, 1)).toEqual({ after: 0, away: 1 });
    expect(nearestEdge(square, -2, 5)).toEqual({ after: 3, away: 2 });
  });
});
