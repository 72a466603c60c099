/** Decoded frames around the one in view: fetched ahead in the direction of travel, bounded in bytes. */

import { address } from "../api/client";
import { wanted } from "../pure/ahead";
import { ByteCache } from "../pure/lru";

const CACHE_BYTES = 320 * 2 ** 20;
const AT_ONCE = 4;
const RETRY_MS = 2000;

export class Frames {
  private readonly cache: ByteCache<number, ImageBitmap>;
  private readonly loading = new Map<number, AbortController>();
  private queue: number[] = [];
  private failedAt = new Map<number, number>();
  private closed = false;
  private again: ReturnType<typeof setTimeout> | undefined;
  private last: [frame: number, direction: 1 | -1] = [0, 1];
  private readonly ahead: number;

  /**
   * @param ready called with a frame's number each time one has arrived.
   * @param failed called with one line when a frame cannot be had.
   */
  constructor(
    private readonly video: { id: string; frame_count: number; width: number; height: number },
    private readonly ready: (frame: number) => void,
    private readonly failed: (message: string) => void,
  ) {
    const each = video.width * video.height * 4;
    this.ahead = Math.max(4, Math.min(24, Math.floor(CACHE_BYTES / each / 3)));
    this.cache = new ByteCache(Math.max(CACHE_BYTES, each * 8), (bitmap) => bitmap.close());
  }

  get(frame: number): ImageBitmap | undefined {
    return this.cache.get(frame);
  }

  has(frame: number): boolean {
    return this.cache.has(frame);
  }

  /** Frames held, for the timeline's line of what is ready. */
  get size(): number {
    return this.cache.size;
  }

  /** Says which frame is in view and where the person is heading. Fetches that became useless are dropped. */
  look(frame: number, direction: 1 | -1): void {
    this.last = [frame, direction];
    const order = wanted(frame, this.video.frame_count, direction, this.ahead, Math.ceil(this.ahead / 3));
    // Touch from least to most wanted, so that the cache lets go of far frames first.
    for (const n of [...order].reverse()) this.cache.get(n);
    const useful = new Set(order);
    for (const [n, controller] of this.loading) if (!useful.has(n)) controller.abort();
    this.queue = order.filter((n) => !this.cache.has(n) && !this.loading.has(n));
    this.pump();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.again);
    for (const controller of this.loading.values()) controller.abort();
    this.queue = [];
    this.cache.clear();
  }

  private pump(): void {
    while (!this.closed && this.loading.size < AT_ONCE && this.queue.length) {
      const frame = this.queue.shift() as number;
      if (performance.now() - (this.failedAt.get(frame) ?? -Infinity) < RETRY_MS) {
        this.again ??= setTimeout(() => {
          this.again = undefined;
          if (!this.closed) this.look(...this.last);
        }, RETRY_MS);
        continue;
      }
      void this.load(frame);
    }
  }

  private async load(frame: number): Promise<void> {
    const controller = new AbortController();
    this.loading.set(frame, controller);
    try {
      const url = address(`videos/${encodeURIComponent(this.video.id)}/frames/${frame}.jpg`);
      const response = await fetch(url, { signal: controller.signal, credentials: "same-origin" });
      if (!response.ok) throw new Error(`Frame ${frame} cannot be read from the video (${response.status}).`);
      const bitmap = await createImageBitmap(await response.blob());
      if (this.closed) return bitmap.close();
      this.cache.set(frame, bitmap, bitmap.width * bitmap.height * 4);
      this.failedAt.delete(frame);
      this.ready(frame);
    } catch (error) {
      if (!controller.signal.aborted) {
        this.failedAt.set(frame, performance.now());
        if (error instanceof Error && !(error instanceof TypeError)) this.failed(error.message);
      }
    } finally {
      this.loading.delete(frame);
      this.pump();
    }
  }
}
