import { describe, expect, test } from "vitest";
import type { Lane, MaskItem, Span } from "../src/api/types";
import { block, wanted } from "../src/pure/ahead";
import {
  clock,
  following,
  frameAt,
  GUTTER,
  moved,
  partAt,
  RULER,
  tickStep,
  whole,
  xOf,
  zoomWindow,
} from "../src/pure/lanes";
import { ByteCache } from "../src/pure/lru";
import * as spans from "../src/pure/spans";
import { jobFor } from "../src/pure/request";

const frames = (list: readonly Span[]) =>
  new Set(list.flatMap(([a, b]) => Array.from({ length: b - a }, (_, i) => a + i)));

test("adding and removing spans does what a set of frames does", () => {
  let seed = 5;
  const random = (n: number) => (seed = (seed * 16807) % 2147483647) % n;
  let list: Span[] = [];
  const truth = new Set<number>();
  for (let i = 0; i < 400; i++) {
    const start = random(60);
    const stop = start + 1 + random(9);
    const adding = random(3) > 0;
    list = adding ? spans.add(list, start, stop) : spans.remove(list, start, stop);
    for (let n = start; n < stop; n++) adding ? truth.add(n) : truth.delete(n);
    expect(frames(list)).toEqual(truth);
    expect(spans.total(list)).toBe(truth.size);
    for (let k = 1; k < list.length; k++) expect((list[k] as Span)[0]).toBeGreaterThan((list[k - 1] as Span)[1]);
    for (let n = 0; n < 70; n++) expect(spans.holds(list, n)).toBe(truth.has(n));
  }
});

describe("a lane", () => {
  const mask = (area: number, score: number): MaskItem => ({
    id: 1,
    counts: "",
    area,
    box: null,
    score,
    presence: 1,
    source: "tracked",
  });

  test("takes streamed masks: present, low, absent, and present again", () => {
    let lane: Lane = spans.emptyLane(1);
    lane = spans.withMask(lane, 4, mask(9, 0.9), 0.5);
    lane = spans.withMask(lane, 5, mask(9, 0.2), 0.5);
    lane = spans.withMask(lane, 6, mask(0, 0.9), 0.5);
    expect([3, 4, 5, 6].map((n) => spans.presenceAt(lane, n))).toEqual(["untracked", "present", "low", "absent"]);
    lane = spans.withMask(lane, 6, mask(9, 0.9), 0.5);
    lane = spans.withMask(lane, 5, mask(0, 0.2), 0.5);
    expect([5, 6].map((n) => spans.presenceAt(lane, n))).toEqual(["absent", "present"]);
  });

  test("names the next accepted frame strictly after one, over several lanes", () => {
    const lanes = [
      { ...spans.emptyLane(1), accepted: [10, 40] },
      { ...spans.emptyLane(2), accepted: [25] },
    ];
    expect([9, 10, 25, 40].map((n) => spans.nextAccepted(lanes, n))).toEqual([10, 25, 40, null]);
  });

  test("lists each landmark once, in order", () => {
    const lane: Lane = {
      ...spans.emptyLane(1),
      prompted: [7],
      corrected: [30],
      low: [[12, 20]],
      absent: [[20, 22]],
      accepted: [30],
    };
    expect(spans.landmarks([lane])).toEqual([7, 12, 20, 30]);
  });
});

describe("the window of the timeline", () => {
  test("a frame and its place on the canvas are inverse to each other", () => {
    const window = { start: 31.5, length: 57 };
    for (let frame = 32; frame < 88; frame++)
      expect(frameAt(window, 1000, xOf(window, 1000, frame + 0.5), 500)).toBe(frame);
  });

  test("zooming keeps the frame under the pointer, and never leaves the video", () => {
    const before = whole(1000);
    const after = zoomWindow(before, 4, 600, 1000);
    expect(xOf(after, 900, 600)).toBeCloseTo(xOf(before, 900, 600), 6);
    expect(zoomWindow(after, 0.001, 600, 1000)).toEqual(before);
    const close = zoomWindow(before, 1e9, 999, 1000);
    expect(close.length).toBe(8);
    expect(close.start).toBeLessThanOrEqual(992);
  });

  test("follows the frame in view and stays when it is inside", () => {
    const window = { start: 100, length: 50 };
    expect(following(window, 120, 1000)).toBe(window);
    for (const frame of [99, 150, 0, 999]) {
      const next = following(window, frame, 1000);
      expect(frame >= next.start && frame < next.start + next.length).toBe(true);
    }
  });

  test("ticks are round numbers with room for their text", () => {
    expect(tickStep({ start: 0, length: 100 }, GUTTER + 1000)).toBe(10);
    expect(tickStep({ start: 0, length: 100_000 }, GUTTER + 1000)).toBe(10_000);
  });

  test("a press on the ruler finds the handle that stands there; elsewhere lanes and names", () => {
    const window = whole(100);
    const at = (x: number, y: number) => partAt(window, GUTTER + 1000, x, y, 2, 0, [20, 60]);
    expect(at(GUTTER + 203, 5).what).toBe("start");
    expect(at(GUTTER + 597, 5).what).toBe("stop");
    expect(at(GUTTER + 400, 5).what).toBe("ruler");
    expect(at(GUTTER + 400, RULER + 25)).toEqual({ what: "lane", lane: 1 });
    expect(at(10, RULER + 2)).toEqual({ what: "gutter", lane: 0 });
    expect(at(10, RULER + 90).what).toBe("nothing");
  });

  test("a range never becomes empty and never leaves the video", () => {
    expect(moved([10, 20], "start", 25, 100)).toEqual([19, 20]);
    expect(moved([10, 20], "stop", 3, 100)).toEqual([10, 11]);
    expect(moved(null, "stop", 400, 100)).toEqual([0, 100]);
  });

  test("the clock carries over full seconds and minutes", () => {
    expect([clock(0, 25), clock(30, 25), clock(1499, 25), clock(1500, 25)]).toEqual([
      "0:00.00",
      "0:01.20",
      "0:59.96",
      "1:00.00",
    ]);
  });
});

describe("what a run is asked for", () => {
  test("the whole video has no bounds", () => {
    expect(jobFor("both", 12, null)).toEqual({ direction: "both", start: 12 });
  });
  test("a frame in view outside the range starts at the nearest frame inside", () => {
    expect(jobFor("forward", 5, [10, 20], [3])).toEqual({
      direction: "forward",
      start: 10,
      first: 10,
      stop: 20,
      objects: [3],
    });
    expect(jobFor("backward", 50, [10, 20]).start).toBe(19);
    expect(jobFor("both", 15, [10, 20]).start).toBe(15);
  });
});

describe("what is kept ready", () => {
  test("the frame in view comes first, then its neighbours in the direction of travel; nothing outside the video", () => {
    expect(wanted(50, 100, 1, 3, 1)).toEqual([50, 51, 49, 52, 53, 60, 40]);
    expect(wanted(2, 100, -1, 3, 1)).toEqual([2, 1, 3, 0, 12]);
    expect(new Set(wanted(0, 3, 1, 24, 8))).toEqual(new Set([0, 1, 2]));
  });

  test("blocks are aligned and cover the last frames too", () => {
    expect([block(0, 100, 32), block(31, 100, 32), block(99, 100, 32)]).toEqual([
      [0, 32],
      [0, 32],
      [96, 100],
    ]);
  });

  test("the cache stays within its bytes, drops what was used longest ago, and frees it", () => {
    const freed: string[] = [];
    const cache = new ByteCache<string, string>(100, (value) => freed.push(value));
    for (const key of ["a", "b", "c"]) cache.set(key, key.toUpperCase(), 40);
    expect(freed).toEqual(["A"]);
    cache.get("b");
    cache.set("d", "D", 40);
    expect([freed, cache.has("b"), cache.bytes]).toEqual([["A", "C"], true, 80]);
    cache.set("b", "B2", 10);
    cache.clear();
    expect([freed.sort(), cache.bytes]).toEqual([["A", "B", "B2", "C", "D"].sort(), 0]);
  });
});
