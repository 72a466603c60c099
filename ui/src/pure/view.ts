/** Where the picture lies on the stage: scale (stage pixels a frame pixel) and the stage position of the frame's corner. */

export interface View {
  scale: number;
  x: number;
  y: number;
}

export interface Size {
  width: number;
  height: number;
}

/** The whole frame, centred, with a margin. */
export function fit(frame: Size, stage: Size, margin = 8): View {
  const room = { width: Math.max(1, stage.width - 2 * margin), height: Math.max(1, stage.height - 2 * margin) };
  const scale = Math.min(room.width / frame.width, room.height / frame.height);
  return { scale, x: (stage.width - frame.width * scale) / 2, y: (stage.height - frame.height * scale) / 2 };
}

/** Zoomed by `factor` around a point of the stage, which stays where it is. */
export function zoomed(view: View, factor: number, at: { x: number; y: number }, frame: Size, stage: Size): View {
  const least = fit(frame, stage).scale * 0.5;
  const scale = Math.min(40, Math.max(least, view.scale * factor));
  const real = scale / view.scale;
  return inReach({ scale, x: at.x - (at.x - view.x) * real, y: at.y - (at.y - view.y) * real }, frame, stage);
}

/** A view from which some of the frame can always be seen. */
export function inReach(view: View, frame: Size, stage: Size, least = 48): View {
  const clamp = (value: number, low: number, high: number) => Math.min(Math.max(value, low), high);
  return {
    scale: view.scale,
    x: clamp(view.x, least - frame.width * view.scale, stage.width - least),
    y: clamp(view.y, least - frame.height * view.scale, stage.height - least),
  };
}

export function toFrame(view: View, x: number, y: number): { x: number; y: number } {
  return { x: (x - view.x) / view.scale, y: (y - view.y) / view.scale };
}

export function inside(frame: Size, x: number, y: number): boolean {
  return x >= 0 && y >= 0 && x < frame.width && y < frame.height;
}

/** The nearest pixel of the frame, as the server takes clicks. */
export function clampTo(frame: Size, x: number, y: number): { x: number; y: number } {
  return { x: Math.min(Math.max(x, 0), frame.width - 1), y: Math.min(Math.max(y, 0), frame.height - 1) };
}
