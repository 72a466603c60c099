/** Which frames to have ready around the one in view, most wanted first. */

export function wanted(frame: number, count: number, direction: 1 | -1, ahead: number, behind: number): number[] {
  const order: number[] = [frame];
  for (let i = 1; i <= Math.max(ahead, behind); i++) {
    if (i <= ahead) order.push(frame + i * direction);
    if (i <= behind) order.push(frame - i * direction);
  }
  order.splice(Math.min(6, order.length), 0, frame + 10 * direction, frame - 10 * direction);
  return [...new Set(order)].filter((n) => n >= 0 && n < count);
}

/** The aligned block of frames that holds `frame`: the unit in which masks are read. */
export function block(frame: number, count: number, size: number): [number, number] {
  const start = Math.floor(frame / size) * size;
  return [start, Math.min(start + size, count)];
}
