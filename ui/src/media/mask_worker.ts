/** Turns run lengths into painted pictures off the main thread; one message in, one bitmap (or none) back. */

import { boundsOf, crop, unpack } from "../pure/rle";
import { paint } from "../pure/sprite";

export interface SpriteJob {
  ticket: number;
  counts: string;
  height: number;
  colour: string;
  edge: number;
}

export interface SpriteDone {
  ticket: number;
  bitmap: ImageBitmap | null;
  x: number;
  y: number;
}

const scope = self as unknown as {
  onmessage: (event: MessageEvent<SpriteJob>) => void;
  postMessage(m: SpriteDone, t: Transferable[]): void;
};

scope.onmessage = async ({ data }) => {
  const none: SpriteDone = { ticket: data.ticket, bitmap: null, x: 0, y: 0 };
  try {
    const runs = unpack(data.counts);
    const bounds = boundsOf(runs, data.height);
    if (!bounds) return scope.postMessage(none, []);
    const { x, y, width, height } = bounds;
    const pixels = paint(crop(runs, data.height, bounds), width, height, data.colour, data.edge);
    const bitmap = await createImageBitmap(new ImageData(pixels, width, height));
    scope.postMessage({ ticket: data.ticket, bitmap, x, y }, [bitmap]);
  } catch {
    scope.postMessage(none, []);
  }
};
