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

/** Painted masks. A mask is decoded once for a frame, object and colour; every repaint is one draw call for each. */
export class Sprites {
  private readonly cache = new ByteCache<string, Sprite>(SPRITE_BYTES, (sprite) => sprite.bitmap?.close());
  private readonly asked = new Map<string, number>();
  private readonly tickets = new Map<number, { key: string; counts: string; colour: string }>();
  private readonly worker: Worker;
  private count = 0;
  private readonly edge: number;

  constructor(
    private readonly size: { width: number; height: number },
    private readonly changed: () => void,
  ) {
    this.edge = Math.max(1, Math.round(Math.max(size.width, size.height) / 640));
    this.worker = new Worker(new URL("./mask_worker.ts", import.meta.url), { type: "module", name: "mask_worker" });
    this.worker.onmessage = ({ data }: MessageEvent<SpriteDone>) => this.receive(data);
  }

  /** The painted mask; the previous one of the same object and frame while a new one is being painted. */
  get(key: string, counts: string, colour: string): Sprite | undefined {
    const sprite = this.cache.get(key);
    if (sprite && sprite.counts === counts && sprite.colour === colour) return sprite;
    const open = this.asked.get(key);
    const job = open === undefined ? undefined : this.tickets.get(open);
    if (!job || job.counts !== counts || job.colour !== colour) {
      const ticket = this.count++;
      this.asked.set(key, ticket);
      this.tickets.set(ticket, { key, counts, colour });
      const order: SpriteJob = { ticket, counts, height: this.size.height, colour, edge: this.edge };
      this.worker.postMessage(order);
    }
    return sprite;
  }

  ready(key: string, counts: string, colour: string): boolean {
    const sprite = this.get(key, counts, colour);
    return sprite !== undefined && sprite.counts === counts && sprite.colour === colour;
  }

  close(): void {
    this.worker.terminate();
    this.cache.clear();
  }

  private receive({ ticket, bitmap, x, y }: SpriteDone): void {
    const job = this.tickets.get(ticket);
    this.tickets.delete(ticket);
    if (!job) return bitmap?.close();
    if (this.asked.get(job.key) !== ticket) return bitmap?.close();
    this.asked.delete(job.key);
    const bytes = bitmap ? bitmap.width * bitmap.height * 4 : 64;
    this.cache.set(job.key, { counts: job.counts, colour: job.colour, bitmap, x, y }, bytes);
    this.changed();
  }
}
