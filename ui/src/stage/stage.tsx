import { effect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { clock } from "../pure/lanes";
import { pendingMarks } from "../state/actions";
import { current } from "../state/session";
import * as s from "../state/store";
import { grabbed, shape, stroke } from "./editor";
import { previewed, provisional } from "./hover";
import { paintStage, type Scene } from "./paint";
import * as pointing from "./pointing";

function scene(ratio: number): Scene | null {
  const open = current();
  const video = s.video.value;
  if (!open || !video) return null;
  const frame = s.shown.value;
  void s.painted.value;
  const picture = open.frames.get(frame) ?? null;
  const hidden = s.allHidden.value;
  const active = s.active.value;
  const masks: Scene["masks"] = [];
  for (const item of open.masks.at(frame)?.values() ?? []) {
    const object = s.objects.value.find((o) => o.id === item.id);
    if (!object || object.hidden || hidden || item.area === 0) continue;
    masks.push({ item, object, sprite: open.sprites.get({ frame, id: item.id }, item.counts, object.colour) });
  }
  masks.sort((a, b) => Number(a.object.id === active) - Number(b.object.id === active) || b.item.area - a.item.area);
  const marks: Scene["marks"] = [];
  if (!hidden)
    for (const p of video.prompts) {
      const object = s.objects.value.find((o) => o.id === p.object_id);
      if (p.frame === frame && object && !object.hidden && (active === null || p.object_id === active))
        marks.push({ points: p.points, box: p.box, colour: object.colour, faint: p.object_id !== active });
    }
  for (const mark of pendingMarks)
    if (mark.frame === frame) marks.push({ points: mark.points, box: mark.box, colour: "#ffffff", faint: true });
  const hover = provisional.value ?? previewed.value;
  const colour = s.activeObject.value?.colour ?? "#ffffff";
  const cursor = pointing.cursor.value;
  const tool = s.tool.value;
  const outline = shape.value;
  return {
    picture,
    size: video,
    view: s.view.value,
    ratio,
    masks,
    output: video.settings.output,
    active,
    hovered: s.hovered.value,
    tags: s.tags.value,
    marks,
    preview: hover && hover.area > 0 ? (open.sprites.get("preview", hover.counts, colour) ?? null) : null,
    drag: pointing.dragged.value,
    stroke: stroke.value,
    brush:
      cursor && (tool === "brush" || tool === "eraser")
        ? { ...cursor, radius: s.brushSize.value / 2, erase: tool === "eraser" }
        : null,
    polygon:
      tool === "polygon" && outline
        ? { ...outline, grabbed: grabbed.value, cursor: cursor ? [cursor.x, cursor.y] : null }
        : null,
    pointer: s.keyboardPointer.value,
  };
}

export function Stage() {
  const canvas = useRef<HTMLCanvasElement>(null);
  const frame = useRef<HTMLDivElement>(null);

  useEffect(() => {
    const element = canvas.current;
    const box = frame.current;
    if (!element || !box) return;
    const ratio = () => Math.min(window.devicePixelRatio || 1, 2);
    let due = 0;
    let next: Scene | null = null;
    const draw = () => {
      due = 0;
      if (!next) return;
      paintStage(element, next);
      element.dataset.frame = next.picture ? String(s.shown.peek()) : "";
      element.dataset.preview = next.preview?.bitmap ? "shown" : "";
      element.dataset.masks = String(next.masks.filter((m) => m.sprite?.bitmap).length);
    };
    const stop = effect(() => {
      next = scene(ratio());
      void s.stageSize.value;
      due ||= requestAnimationFrame(draw);
    });
    const resize = new ResizeObserver(() => {
      const { clientWidth: width, clientHeight: height } = box;
      if (!width || !height) return;
      element.width = Math.round(width * ratio());
      element.height = Math.round(height * ratio());
      s.stageSize.value = { width, height };
      if (s.fitted.peek()) s.fitView();
    });
    resize.observe(box);
    element.addEventListener("wheel", pointing.wheel, { passive: false });
    return () => {
      stop();
      cancelAnimationFrame(due);
      resize.disconnect();
      element.removeEventListener("wheel", pointing.wheel);
    };
  }, []);

  const video = s.video.value;
  const waiting = video !== null && s.frame.value !== s.shown.value;
  return (
    <div class="stage" ref={frame}>
      <canvas
        ref={canvas}
        class={`canvas tool-${s.tool.value}`}
        tabIndex={0}
        role="application"
        aria-roledescription="video frame"
        aria-label={
          video
            ? `Frame ${s.frame.value}, ${clock(s.frame.value, video.fps)}. Press J for the keyboard pointer, ? for all keys.`
            : "No video"
        }
        onPointerDown={pointing.down}
        onPointerMove={pointing.move}
        onPointerUp={pointing.up}
        onPointerCancel={pointing.cancelHeld}
        onPointerLeave={pointing.leave}
        onContextMenu={(e) => e.preventDefault()}
      />
      {waiting && (
        <div class="waiting" role="status">
          Loading frame {s.frame.value} …
        </div>
      )}
      {s.busy.value > 0 && <div class="busy-line" aria-hidden="true" />}
    </div>
  );
}
