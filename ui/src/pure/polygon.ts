/** Outlines of masks as polygons that a person can pull at. */

export type Vertex = [x: number, y: number];

const area = (ring: readonly Vertex[]) =>
  ring.reduce((sum, [x, y], i) => {
    const [nx, ny] = ring[(i + 1) % ring.length] as Vertex;
    return sum + x * ny - nx * y;
  }, 0) / 2;

/**
 * The outer outline of the largest part of a row-by-row mask (pixels that touch at a corner are one part), along the pixels'
 * borders, so a single pixel gives a square; clockwise on the screen; empty for an empty mask.
 */
export function outline(mask: ArrayLike<number>, width: number, height: number): Vertex[] {
  const at = (x: number, y: number) =>
    x >= 0 && y >= 0 && x < width && y < height && (mask[y * width + x] as number) > 0;
  const seen = new Uint8Array(width * height);
  let best: Vertex[] = [];
  let most = 0;
  // Right, down, left, up; for each the cell to the right-hand side ahead and the one to the left-hand side ahead.
  const steps: [number, number][] = [
    [1, 0],
    [0, 1],
    [-1, 0],
    [0, -1],
  ];
  const rightCell: [number, number][] = [
    [0, 0],
    [-1, 0],
    [-1, -1],
    [0, -1],
  ];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!at(x, y) || at(x, y - 1) || seen[y * width + x]) continue;
      const ring: Vertex[] = [];
      let [px, py, heading] = [x, y, 0];
      do {
        if (heading === 0) seen[py * width + px] = 1;
        ring.push([px, py]);
        const [dx, dy] = steps[heading] as [number, number];
        [px, py] = [px + dx, py + dy];
        const left = (heading + 3) % 4;
        const [lx, ly] = rightCell[left] as [number, number];
        const [rx, ry] = rightCell[heading] as [number, number];
        if (at(px + lx, py + ly)) heading = left;
        else if (!at(px + rx, py + ry)) heading = (heading + 1) % 4;
      } while (px !== x || py !== y || heading !== 0);
      const size = area(ring);
      if (size > most) [best, most] = [ring, size];
    }
  }
  return best;
}

function farthest(ring: readonly Vertex[], from: number, to: number): [number, number] {
  const [ax, ay] = ring[from] as Vertex;
  const [bx, by] = ring[to % ring.length] as Vertex;
  const length = Math.hypot(bx - ax, by - ay);
  let [at, most] = [-1, 0];
  for (let i = from + 1; i < to; i++) {
    const [x, y] = ring[i] as Vertex;
    const away = length ? Math.abs((x - ax) * (by - ay) - (y - ay) * (bx - ax)) / length : Math.hypot(x - ax, y - ay);
    if (away > most) [at, most] = [i, away];
  }
  return [at, most];
}

/** The ring with fewer vertices, nowhere farther than `tolerance` pixels from where it was (Douglas and Peucker). */
export function simplify(ring: readonly Vertex[], tolerance: number): Vertex[] {
  if (ring.length < 4) return [...ring];
  const keep = new Set<number>([0]);
  const [opposite] = farthest(ring, 0, ring.length);
  const open: [number, number][] =
    opposite > 0
      ? [
          [0, opposite],
          [opposite, ring.length],
        ]
      : [[0, ring.length]];
  while (open.length) {
    const [from, to] = open.pop() as [number, number];
    keep.add(from);
    const [at, away] = farthest(ring, from, to);
    if (at >= 0 && away > tolerance) open.push([from, at], [at, to]);
  }
  return [...keep].sort((a, b) => a - b).map((i) => ring[i] as Vertex);
}

/** The edge of a ring nearest to a point, as the index after which a new vertex belongs, and how far away it is. */
export function nearestEdge(ring: readonly Vertex[], x: number, y: number): { after: number; away: number } {
  let best = { after: -1, away: Infinity };
  ring.forEach(([ax, ay], i) => {
    const [bx, by] = ring[(i + 1) % ring.length] as Vertex;
    const length = (bx - ax) ** 2 + (by - ay) ** 2;
    const t = length ? Math.min(1, Math.max(0, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length)) : 0;
    const away = Math.hypot(x - (ax + t * (bx - ax)), y - (ay + t * (by - ay)));
    if (away < best.away) best = { after: i, away };
  });
  return best;
}
