/** The masks that the page knows, by frame and object, and the painted pictures of those in view. */

import { api } from "../api/client";
import type { FrameMasks, MaskItem, Span } from "../api/types";
import { block } from "../pure/ahead";
import { ByteCache } from "../pure/lru";
import type { SpriteDone, SpriteJob } from "./mask_worker";

const BLOCK = 32;
const BOOK_BYTES = 64 * 2 ** 20;
const SPRITE_BYTES = 256 * 2 ** 20;

interface Page {
  items: Map<number, MaskItem>;
  /** Whether the server's answer for this frame is in, and still good. */
  fresh: boolean;
}

/** Run lengths of all objects by frame, read in blocks and kept within a limit. */
export class MaskBook {
  private readonly pages = new ByteCache<number, Page>(BOOK_BYTES);
  /** Blocks on their way, each with what was streamed in meanwhile: that is newer than the answer. */
  private readonly reading = new Map<number, FrameMasks[]>();
  private round = 0;

  constructor(
    private readonly video: { id: string; frame_count: number },
    private readonly changed: (frame: number | null) => void,
  ) {}

  at(frame: number): Map<number, MaskItem> | undefined {
    return this.pages.get(frame)?.items;
  }

  get(frame: number, id: number): MaskItem | undefined {
    return this.pages.get(frame)?.items.get(id);
  }

  fresh(frame: number): boolean {
    return this.pages.get(frame)?.fresh ?? false;
  }

  /** Makes sure that the frame's masks and those about to be needed are here or on their way. */
  want(frame: number, direction: 1 | -1): void {
    for (const n of [frame, frame + 12 * direction])
      if (n >= 0 && n < this.video.frame_count && !this.fresh(n))
        void this.read(block(n, this.video.frame_count, BLOCK));
  }

  put({ frame, objects }: FrameMasks): void {
    const page = this.pages.get(frame) ?? { items: new Map<number, MaskItem>(), fresh: false };
    for (const item of objects) page.items.set(item.id, item);
    this.store(frame, page);
    this.reading.get(block(frame, this.video.frame_count, BLOCK)[0])?.push({ frame, objects });
    this.changed(frame);
  }

  drop(frame: number, id: number): void {
    this.pages.get(frame)?.items.delete(id);
    this.changed(frame);
  }

  /** Reads again what may have changed; until then the old masks stay in view. */
  stale(frames: Span | null): void {
    this.round++;
    const [start, stop] = frames ?? [0, this.video.frame_count];
    if (stop - start > 4096) this.pages.clear();
    else
      for (let n = start; n < stop; n++) {
        const page = this.pages.get(n);
        if (page) page.fresh = false;
      }
    this.changed(null);
  }

  private store(frame: number, page: Page): void {
    let bytes = 200;
    for (const item of page.items.values()) bytes += 200 + item.counts.length;
    this.pages.set(frame, page, bytes);
  }

  private async read(span: Span): Promise<void> {
    if (this.reading.has(span[0])) return;
    const meanwhile: FrameMasks[] = [];
    this.reading.set(span[0], meanwhile);
    const round = this.round;
    let again = false;
    try {
      const { frames } = await api.masks(this.video.id, span);
      again = round !== this.round;
      if (!again) {
        const named = new Map<number, Map<number, MaskItem>>();
        for (const f of [...frames, ...meanwhile]) {
          const items = named.get(f.frame) ?? new Map<number, MaskItem>();
          for (const item of f.objects) items.set(item.id, item);
          named.set(f.frame, items);
        }
        for (let n = span[0]; n < span[1]; n++) this.store(n, { items: named.get(n) ?? new Map(), fresh: true });
        this.changed(null);
      }
    } catch {
      // The frame stays "not read" and is asked for again with the next look; the connection banner says why.
    } finally {
      this.reading.delete(span[0]);
    }
    if (again) void this.read(span);
  }
}

interface Sprite {
  counts: string;
  colour: string;
  bitmap: ImageBitmap | null;
  x: number;
  y: number;
}

/** What a painted mask is of: an object on a frame, or the preview under the pointer. */
export type SpriteKey = { frame: number; id: number } | "preview";

interface Order {
  key: string;
  frame: number | null;
  counts: string;
  colour: string;
}

const IN_WORK = 6;
const FAR = 12;

/**
 * Painted masks. A mask is decoded once for a frame, object and colour; every repaint is one draw call for each. What is
 * nearest to the frame in view is painted first, and what the person has long passed is not painted at all.
 */
export class Sprites {
  private readonly cache = new ByteCache<string, Sprite>(SPRITE_BYTES, (sprite) => sprite.bitmap?.close());
  private readonly waiting = new Map<string, Order>();
  private readonly working = new Map<number, Order>();
  private readonly worker: Worker;
  private tickets = 0;
  private focus = 0;
  private readonly edge: number;

  constructor(
    private readonly size: { width: number; height: number },
    private readonly changed: () => void,
  ) {
    this.edge = Math.max(1, Math.round(Math.max(size.width, size.height) / 480));
    this.worker = new Worker(new URL("./mask_worker.ts", import.meta.url), { type: "module", name: "mask_worker" });
    this.worker.onmessage = ({ data }: MessageEvent<SpriteDone>) => this.receive(data);
  }

  /** Says which frame is in view. */
  look(frame: number): void {
    this.focus = frame;
    for (const [key, order] of this.waiting)
      if (order.frame !== null && Math.abs(order.frame - frame) > FAR) this.waiting.delete(key);
  }

  /** The painted mask; the previous one of the same object and frame while a new one is being painted. */
  get(of: SpriteKey, counts: string, colour: string): Sprite | undefined {
    const key = of === "preview" ? of : `${of.frame}:${of.id}`;
    const sprite = this.cache.get(key);
    const same = (o: { counts: string; colour: string } | undefined) => o?.counts === counts && o.colour === colour;
    if (same(sprite)) {
      this.waiting.delete(key);
      return sprite;
    }
    const started = [...this.working.values()].some((order) => order.key === key && same(order));
    if (!started && !same(this.waiting.get(key))) {
      this.waiting.set(key, { key, frame: of === "preview" ? null : of.frame, counts, colour });
      this.pump();
    }
    return sprite;
  }

  ready(of: SpriteKey, counts: string, colour: string): boolean {
    const sprite = this.get(of, counts, colour);
    return sprite !== undefined && sprite.counts === counts && sprite.colour === colour;
  }

  close(): void {
    this.worker.terminate();
    this.waiting.clear();
    this.cache.clear();
  }

  private pump(): void {
    while (this.working.size < IN_WORK && this.waiting.size) {
      const away = (order: Order) => (order.frame === null ? -1 : Math.abs(order.frame - this.focus));
      let next: Order | undefined;
      for (const order of this.waiting.values()) if (!next || away(order) < away(next)) next = order;
      if (!next) return;
      this.waiting.delete(next.key);
      const ticket = this.tickets++;
      this.working.set(ticket, next);
      const { counts, colour } = next;
      const job: SpriteJob = { ticket, counts, height: this.size.height, colour, edge: this.edge };
      this.worker.postMessage(job);
    }
  }

  private receive({ ticket, bitmap, x, y }: SpriteDone): void {
    const order = this.working.get(ticket);
    this.working.delete(ticket);
    this.pump();
    if (!order) return bitmap?.close();
    const bytes = bitmap ? bitmap.width * bitmap.height * 4 : 64;
    const { key, counts, colour } = order;
    this.cache.set(key, { counts, colour, bitmap, x, y }, bytes);
    this.changed();
  }
}
