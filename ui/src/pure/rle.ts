/**
 * COCO run lengths: a mask read column by column as alternating runs of background and object, packed into a string of
 * six-bit characters (each run from the fourth on is stored as its difference to the one two before it).
 */

/** Run lengths, background first, from their packed string. Throws when the string is cut off. */
export function unpack(counts: string): number[] {
  const runs: number[] = [];
  let at = 0;
  while (at < counts.length) {
    let value = 0;
    let shift = 0;
    let more = true;
    while (more) {
      if (at >= counts.length) throw new Error("The mask's run lengths end in the middle of a number.");
      const six = counts.charCodeAt(at++) - 48;
      value |= (six & 0x1f) << shift;
      more = (six & 0x20) !== 0;
      shift += 5;
      if (!more && six & 0x10) value |= -1 << shift;
    }
    const before = runs.length > 2 ? (runs[runs.length - 2] as number) : 0;
    runs.push(value + before);
  }
  return runs;
}

/** The packed string of run lengths. */
export function pack(runs: readonly number[]): string {
  let text = "";
  runs.forEach((run, i) => {
    let value = i > 2 ? run - (runs[i - 2] as number) : run;
    let more = true;
    while (more) {
      let six = value & 0x1f;
      value >>= 5;
      more = six & 0x10 ? value !== -1 : value !== 0;
      if (more) six |= 0x20;
      text += String.fromCharCode(six + 48);
    }
  });
  return text;
}

export interface Bounds {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** The smallest rectangle of pixels that holds the object; null for an empty mask. */
export function boundsOf(runs: readonly number[], height: number): Bounds | null {
  let left = Infinity;
  let right = -1;
  let top = height;
  let bottom = -1;
  let at = 0;
  runs.forEach((run, i) => {
    if (i % 2 === 1 && run > 0) {
      const last = at + run - 1;
      left = Math.min(left, Math.floor(at / height));
      right = Math.floor(last / height);
      const spansColumns = Math.floor(at / height) !== right;
      top = Math.min(top, spansColumns ? 0 : at % height);
      bottom = Math.max(bottom, spansColumns ? height - 1 : last % height);
    }
    at += run;
  });
  return right < 0 ? null : { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
}

/** The part of a mask inside `bounds`, row by row, 1 where the object is. `bounds` must hold the whole object. */
export function crop(runs: readonly number[], height: number, bounds: Bounds): Uint8Array {
  const pixels = new Uint8Array(bounds.width * bounds.height);
  let at = 0;
  runs.forEach((run, i) => {
    if (i % 2 === 1) {
      let left = run;
      let position = at;
      while (left > 0) {
        const x = Math.floor(position / height);
        const y = position - x * height;
        const length = Math.min(left, height - y);
        let index = (y - bounds.y) * bounds.width + (x - bounds.x);
        for (let k = 0; k < length; k++, index += bounds.width) pixels[index] = 1;
        left -= length;
        position += length;
      }
    }
    at += run;
  });
  return pixels;
}

/** Run lengths of a row-by-row mask of the whole frame (non-zero is object). */
export function runsOf(pixels: ArrayLike<number>, width: number, height: number): number[] {
  const runs: number[] = [];
  let inside = false;
  let length = 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0, index = x; y < height; y++, index += width) {
      if ((pixels[index] as number) > 0 !== inside) {
        runs.push(length);
        inside = !inside;
        length = 0;
      }
      length++;
    }
  }
  runs.push(length);
  return runs;
}

/** Whether the pixel belongs to the object; walks the runs, decodes nothing. */
export function contains(runs: readonly number[], height: number, x: number, y: number): boolean {
  const target = Math.floor(x) * height + Math.floor(y);
  let at = 0;
  for (let i = 0; i < runs.length; i++) {
    at += runs[i] as number;
    if (target < at) return i % 2 === 1;
  }
  return false;
}
