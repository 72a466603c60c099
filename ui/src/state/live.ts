/** The stream of events of one video: opened again when it breaks, from the last revision that was seen. */

import { api, CLIENT } from "../api/client";
import type { Changed, FrameMasks, Job } from "../api/types";
import * as s from "./store";

export interface Listeners {
  changed: (event: Changed, own: boolean) => void;
  frame: (event: FrameMasks) => void;
  job: (job: Job) => void;
  people: (count: number) => void;
  /** After a broken connection works again: everything is read anew before anything waiting is sent. */
  back: () => Promise<void>;
}

const WAITS_S = [0.5, 1, 2, 3, 5];

export class Live {
  private source: EventSource | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private tries = 0;
  private lost = false;
  private waiting: (() => void)[] = [];
  private closed = false;

  constructor(
    private readonly id: string,
    public since: number,
    private readonly to: Listeners,
  ) {
    this.connect();
    addEventListener("online", this.now);
  }

  /** Resolves when the connection works and what it missed was read. */
  restored(): Promise<void> {
    this.drop();
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    this.source?.close();
    removeEventListener("online", this.now);
  }

  private readonly now = () => {
    if (this.lost) this.connect();
  };

  private connect(): void {
    clearTimeout(this.timer);
    this.source?.close();
    const source = new EventSource(api.eventsUrl(this.id, this.since), { withCredentials: true });
    this.source = source;
    const on = <T>(name: string, take: (event: T) => void) =>
      source.addEventListener(name, (event) => {
        const value = JSON.parse((event as MessageEvent<string>).data) as T & { revision?: number };
        if (typeof value.revision === "number") this.since = Math.max(this.since, value.revision);
        take(value);
      });
    source.onopen = () => void this.opened(source);
    source.onerror = () => source === this.source && this.drop();
    on<Changed>("changed", (event) => this.to.changed(event, event.by === CLIENT));
    on<FrameMasks>("frame", this.to.frame);
    on<Job>("job", this.to.job);
    on<{ count: number }>("people", (event) => this.to.people(event.count));
  }

  private async opened(source: EventSource): Promise<void> {
    if (this.lost) {
      try {
        await this.to.back();
      } catch {
        if (source === this.source) this.drop();
        return;
      }
    }
    if (source !== this.source || this.closed) return;
    this.lost = false;
    this.tries = 0;
    s.connection.value = "open";
    for (const go of this.waiting.splice(0)) go();
  }

  private drop(): void {
    if (this.closed) return;
    this.source?.close();
    this.source = null;
    this.lost = true;
    s.connection.value = "lost";
    clearTimeout(this.timer);
    this.timer = setTimeout(
      () => this.connect(),
      1000 * (WAITS_S[Math.min(this.tries++, WAITS_S.length - 1)] as number),
    );
  }
}
