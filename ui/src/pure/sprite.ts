/** Paints a cropped mask: a see-through fill and a firm edge, as RGBA pixels ready for one draw call a repaint. */

export const FILL_ALPHA = 0.45;
export const EDGE_ALPHA = 1;

/** `#rrggbb` to red, green, blue. */
export function rgb(colour: string): [number, number, number] {
  const value = parseInt(colour.slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

/**
 * RGBA of a mask of `width` x `height` (1 is object). The edge lies inside the mask, `edge` pixels wide, so that what is drawn
 * covers exactly the pixels of the mask and no more.
 */
export function paint(
  mask: Uint8Array,
  width: number,
  height: number,
  colour: string,
  edge: number,
): Uint8ClampedArray<ArrayBuffer> {
  const [red, green, blue] = rgb(colour);
  const fill = (Math.round(FILL_ALPHA * 255) << 24) | (blue << 16) | (green << 8) | red;
  const line = (Math.round(EDGE_ALPHA * 255) << 24) | (blue << 16) | (green << 8) | red;
  const pixels = new Uint32Array(width * height);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (!mask[i]) continue;
      const inner =
        x >= edge &&
        x + edge < width &&
        y >= edge &&
        y + edge < height &&
        mask[i - edge] &&
        mask[i + edge] &&
        mask[i - edge * width] &&
        mask[i + edge * width];
      pixels[i] = inner ? fill : line;
    }
  }
  return new Uint8ClampedArray(pixels.buffer);
}
