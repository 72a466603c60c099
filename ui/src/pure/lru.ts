/** A map with a limit in bytes; what was used longest ago goes first, and `drop` frees what it held. */
export class ByteCache<K, V> {
  private readonly held = new Map<K, { value: V; bytes: number }>();
  private used = 0;

  constructor(
    readonly limit: number,
    private readonly drop: (value: V) => void = () => {},
  ) {}

  get(key: K): V | undefined {
    const entry = this.held.get(key);
    if (!entry) return undefined;
    this.held.delete(key);
    this.held.set(key, entry);
    return entry.value;
  }

  has(key: K): boolean {
    return this.held.has(key);
  }

  set(key: K, value: V, bytes: number): void {
    this.delete(key);
    this.held.set(key, { value, bytes });
    this.used += bytes;
    for (const old of this.held.keys()) {
      if (this.used <= this.limit || old === key) break;
      this.delete(old);
    }
  }

  delete(key: K): void {
    const entry = this.held.get(key);
    if (!entry) return;
    this.held.delete(key);
    this.used -= entry.bytes;
    this.drop(entry.value);
  }

  clear(): void {
    for (const key of [...this.held.keys()]) this.delete(key);
  }

  get bytes(): number {
    return this.used;
  }

  get size(): number {
    return this.held.size;
  }
}
