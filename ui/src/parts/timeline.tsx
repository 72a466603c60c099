import { effect, signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import {
  RULER,
  LANE,
  clampWindow,
  clock,
  following,
  frameAt,
  GUTTER,
  moved,
  partAt,
  zoomWindow,
  type Part,
} from "../pure/lanes";
import { presenceAt } from "../pure/spans";
import { seek } from "../state/session";
import * as s from "../state/store";
import { dark } from "../state/theme";
import { IconButton } from "./icons";
import { drawSign, paintLanes, type Sign } from "./timeline_paint";

const scroll = signal(0);
const hoverFrame = signal<number | null>(null);
const tip = signal<{ x: number; text: string } | null>(null);
const size = signal({ width: 1, height: 1 });

function ink() {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string) => style.getPropertyValue(name).trim();
  return {
    text: of("--text"),
    dim: of("--dim"),
    line: of("--line-strong"),
    lane: of("--lane"),
    accent: of("--accent"),
    low: of("--low"),
    surface: of("--panel"),
    shade: of("--chosen"),
  };
}

/** Height that a person gave the timeline, px; null while it follows the number of objects. */
const ownHeight = signal<number | null>(null);
const FEWEST = 3;
const MOST = 7;
const LEGEND = 26;

/** Gives the timeline room for its lanes, within bounds: what it does not need belongs to the picture. */
function setHeight(): void {
  const rows = Math.min(Math.max(s.objects.value.length, FEWEST), MOST);
  const wish = ownHeight.value ?? RULER + rows * LANE + LEGEND + 5;
  const height = Math.min(Math.max(wish, RULER + 2 * LANE + LEGEND), innerHeight * 0.6);
  document.documentElement.style.setProperty("--timeline", `${height}px`);
}

const lowest = () => Math.max(0, s.objects.peek().length * LANE - (size.peek().height - RULER));

let held: Part["what"] | null = null;

function part(event: { offsetX: number; offsetY: number }): Part {
  return partAt(
    s.lanesWindow.peek(),
    size.peek().width,
    event.offsetX,
    event.offsetY,
    s.objects.peek().length,
    scroll.peek(),
    s.range.peek() ?? [0, s.frameCount.peek()],
  );
}

function frameOf(event: { offsetX: number }): number {
  return frameAt(s.lanesWindow.peek(), size.peek().width, event.offsetX, s.frameCount.peek());
}

function dragTo(event: PointerEvent): void {
  const count = s.frameCount.peek();
  if (held === "start") s.range.value = moved(s.range.peek(), "start", frameOf(event), count);
  else if (held === "stop") s.range.value = moved(s.range.peek(), "stop", frameOf(event) + 1, count);
  else if (held === "ruler" || held === "lane") seek(frameOf(event));
  const range = s.range.peek();
  if (range && range[0] === 0 && range[1] === count) s.range.value = null;
}

function down(event: PointerEvent): void {
  if (event.button !== 0) return;
  const { what, lane } = part(event);
  const object = s.objects.peek()[lane];
  if (what === "gutter" && object) s.active.value = s.active.peek() === object.id ? null : object.id;
  if (what === "lane" && object) s.active.value = object.id;
  if (what === "gutter" || what === "nothing") return;
  s.playing.value = false;
  held = what;
  (event.currentTarget as Element).setPointerCapture(event.pointerId);
  dragTo(event);
}

function move(event: PointerEvent): void {
  if (held) return dragTo(event);
  const { what, lane } = part(event);
  const object = s.objects.peek()[lane];
  s.hovered.value = object?.id ?? null;
  (event.currentTarget as HTMLElement).style.cursor =
    what === "start" || what === "stop" ? "ew-resize" : what === "nothing" ? "default" : "pointer";
  if (event.offsetX < GUTTER) return leave();
  const frame = frameOf(event);
  hoverFrame.value = frame;
  const presence = object
    ? ` · ${object.label || "object"} ${object.id}: ${presenceAt(s.lanes.peek().get(object.id), frame)}`
    : "";
  const handle = what === "start" ? " · drag: range starts" : what === "stop" ? " · drag: range ends" : "";
  tip.value = { x: event.offsetX, text: `${frame} · ${clock(frame, s.video.peek()?.fps ?? 25)}${presence}${handle}` };
}

function leave(): void {
  hoverFrame.value = null;
  tip.value = null;
}

function wheel(event: WheelEvent): void {
  event.preventDefault();
  const count = s.frameCount.peek();
  const window = s.lanesWindow.peek();
  if (event.ctrlKey || event.metaKey)
    s.lanesWindow.value = zoomWindow(window, Math.exp(-event.deltaY * 0.004), frameOf(event), count);
  else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))
    s.lanesWindow.value = clampWindow(
      { ...window, start: window.start + ((event.deltaX || event.deltaY) / size.peek().width) * window.length },
      count,
    );
  else scroll.value = Math.min(lowest(), Math.max(0, scroll.peek() + event.deltaY));
}

function zoom(factor: number): void {
  s.lanesWindow.value = zoomWindow(s.lanesWindow.peek(), factor, s.frame.peek(), s.frameCount.peek());
}

function onKey(event: KeyboardEvent): void {
  const steps: Record<string, number> = {
    ArrowLeft: -1,
    ArrowRight: 1,
    ArrowUp: 10,
    ArrowDown: -10,
    PageUp: 100,
    PageDown: -100,
  };
  const step = steps[event.key];
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (step !== undefined) seek(s.frame.peek() + step * (event.shiftKey ? 10 : 1));
  else if (event.key === "Home") seek(0);
  else if (event.key === "End") seek(s.frameCount.peek() - 1);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

export function TimelinePanel() {
  const canvas = useRef<HTMLCanvasElement>(null);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = canvas.current;
    const place = box.current;
    if (!element || !place) return;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    let due = 0;
    const draw = () => {
      due = 0;
      paintLanes(element, {
        ...size.peek(),
        ratio,
        count: s.frameCount.peek(),
        window: s.lanesWindow.peek(),
        scroll: scroll.peek(),
        frame: s.frame.peek(),
        hoverFrame: hoverFrame.peek(),
        range: s.range.peek(),
        done: s.timeline.peek()?.done ?? [],
        job: s.job.peek(),
        active: s.active.peek(),
        hovered: s.hovered.peek(),
        rows: s.objects.peek().map((object) => ({ object, lane: s.lanes.peek().get(object.id) })),
        ink: ink(),
      });
    };
    const stop = effect(() => {
      for (const watched of [
        size,
        s.frameCount,
        s.lanesWindow,
        scroll,
        s.frame,
        hoverFrame,
        s.range,
        s.timeline,
        s.job,
        s.active,
        s.hovered,
        s.objects,
        s.lanes,
        dark,
      ])
        void watched.value;
      due ||= requestAnimationFrame(draw);
    });
    const room = effect(setHeight);
    const follow = effect(() => {
      const frame = s.frame.value;
      s.lanesWindow.value = following(s.lanesWindow.peek(), frame, s.frameCount.peek());
    });
    const reveal = effect(() => {
      const at = s.objects.peek().findIndex((o) => o.id === s.active.value);
      if (at < 0) return;
      const room = size.peek().height - RULER;
      scroll.value = Math.min(Math.max(scroll.peek(), (at + 1) * LANE - room), at * LANE);
    });
    const observer = new ResizeObserver(() => {
      const { clientWidth: width, clientHeight: height } = place;
      element.width = Math.round(width * ratio);
      element.height = Math.round(height * ratio);
      size.value = { width, height };
      scroll.value = Math.min(scroll.peek(), lowest());
    });
    observer.observe(place);
    element.addEventListener("wheel", wheel, { passive: false });
    return () => {
      stop();
      room();
      follow();
      reveal();
      observer.disconnect();
      cancelAnimationFrame(due);
      element.removeEventListener("wheel", wheel);
    };
  }, []);
  const video = s.video.value;
  return (
    <section class="timeline" aria-label="Timeline">
      <Splitter />
      <div class="lanes" ref={box}>
        <canvas
          ref={canvas}
          tabIndex={0}
          role="slider"
          aria-label="Frame"
          aria-valuemin={0}
          aria-valuemax={Math.max(0, s.frameCount.value - 1)}
          aria-valuenow={s.frame.value}
          aria-valuetext={
            video ? `Frame ${s.frame.value} of ${s.frameCount.value}, ${clock(s.frame.value, video.fps)}` : ""
          }
          onPointerDown={down}
          onPointerMove={move}
          onPointerUp={() => (held = null)}
          onPointerCancel={() => (held = null)}
          onPointerLeave={() => {
            leave();
            s.hovered.value = null;
          }}
          onKeyDown={onKey}
        />
        {tip.value && (
          <div class="tip" style={{ left: `${Math.min(tip.value.x + 10, size.value.width - 220)}px` }}>
            {tip.value.text}
          </div>
        )}
      </div>
      <div class="legend">
        <span>
          <i class="bar present" />
          present
        </span>
        <span>
          <i class="bar absent" />
          absent
        </span>
        <span>
          <i class="bar low" />
          low score
        </span>
        <Signs />
        <span class="spring" />
        <span class="dim">Ctrl + wheel zooms</span>
        <IconButton icon="minus" label="Show more frames" class="small" size={14} onClick={() => zoom(0.5)} />
        <IconButton icon="plus" label="Show fewer frames" class="small" size={14} onClick={() => zoom(2)} />
      </div>
    </section>
  );
}

function Signs() {
  return (
    <>
      {(["prompted", "corrected", "edited", "accepted"] as Sign[]).map((sign) => (
        <span key={sign}>
          <canvas class="sign" width={28} height={36} ref={(element) => sketch(element, sign)} aria-hidden="true" />
          {sign}
        </span>
      ))}
    </>
  );
}

function sketch(element: HTMLCanvasElement | null, sign: Sign): void {
  const c = element?.getContext("2d");
  if (!c) return;
  c.setTransform(2, 0, 0, 2, 0, 0);
  c.clearRect(0, 0, 14, 18);
  drawSign(c, sign, 7, 9, { text: "#fff", surface: "#000", ok: "#22c55e" });
}

/** Drag, or arrow keys, to give the timeline more room. */
function Splitter() {
  const set = (height: number) => (ownHeight.value = height);
  const now = () => parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--timeline"));
  return (
    <div
      class="splitter"
      role="separator"
      aria-orientation="horizontal"
      aria-label="Height of the timeline"
      tabIndex={0}
      onPointerDown={(e) => e.currentTarget.setPointerCapture(e.pointerId)}
      onPointerMove={(e) => e.currentTarget.hasPointerCapture(e.pointerId) && set(innerHeight - e.clientY)}
      onKeyDown={(e) => {
        if (e.key === "ArrowUp") set(now() + 20);
        else if (e.key === "ArrowDown") set(now() - 20);
      }}
    />
  );
}
