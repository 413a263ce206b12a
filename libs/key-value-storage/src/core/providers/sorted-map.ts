/**
 * A map in key order, for providers that hold their rows in memory: keys in chunks of at most 512,
 * each chunk sorted, and the chunks in order. Finding, inserting and removing cost a binary search
 * and a move within one chunk; the time of a page depends on its rows only.
 */
export const chunkMax = 512;

/** Returns whether to continue. */
type Visit<V> = (key: string, value: V) => boolean;

export class SortedMap<V> {
  readonly #values = new Map<string, V>();
  readonly #chunks: string[][] = [];

  get size(): number {
    return this.#values.size;
  }

  get(key: string): V | undefined {
    return this.#values.get(key);
  }

  set(key: string, value: V): void {
    const before = this.#values.size;
    this.#values.set(key, value);
    if (this.#values.size > before) this.#insert(key);
  }

  delete(key: string): boolean {
    if (!this.#values.delete(key)) return false;
    const index = chunkOf(this.#chunks, key);
    const chunk = this.#chunks[index] as string[];
    chunk.splice(lowerBound(chunk, key), 1);
    if (chunk.length === 0) this.#chunks.splice(index, 1);
    return true;
  }

  /**
   * Entries from the first key that is not below `from`, upwards. The map must not change while it
   * is read.
   */
  *ascending(from = ''): Generator<readonly [string, V]> {
    for (let index = chunkOf(this.#chunks, from); index < this.#chunks.length; index += 1) {
      const chunk = this.#chunks[index] as string[];
      for (let at = lowerBound(chunk, from); at < chunk.length; at += 1)
        yield this.#entry(chunk[at] as string);
    }
  }

  /**
   * Visits the entries from the first key that is not below `from`, upwards, until `visit` returns
   * false. For pages: a generator takes three times as long for each entry.
   */
  visitAscending(from: string, visit: Visit<V>): void {
    for (let index = chunkOf(this.#chunks, from); index < this.#chunks.length; index += 1) {
      const chunk = this.#chunks[index] as string[];
      for (let at = lowerBound(chunk, from); at < chunk.length; at += 1)
        if (!this.#visit(chunk[at] as string, visit)) return;
    }
  }

  /** The same from the last key below `before` (or the very last), downwards. */
  visitDescending(before: string | undefined, visit: Visit<V>): void {
    let index = before === undefined ? this.#chunks.length - 1 : chunkOf(this.#chunks, before);
    for (; index >= 0; index -= 1) {
      const chunk = this.#chunks[index] ?? [];
      const end = before === undefined ? chunk.length : lowerBound(chunk, before);
      for (let at = end - 1; at >= 0; at -= 1) if (!this.#visit(chunk[at] as string, visit)) return;
    }
  }

  #visit(key: string, visit: Visit<V>): boolean {
    return visit(key, this.#values.get(key) as V);
  }

  #entry(key: string): readonly [string, V] {
    return [key, this.#values.get(key) as V];
  }

  #insert(key: string): void {
    // fast path for keys that come in order, as those of events do: no search, no move
    const tail = this.#chunks.at(-1);
    if (tail !== undefined && tail.length < chunkMax && (tail.at(-1) as string) < key) {
      tail.push(key);
      return;
    }
    const index = Math.min(chunkOf(this.#chunks, key), this.#chunks.length - 1);
    const chunk = this.#chunks[index];
    if (chunk === undefined) {
      this.#chunks.push([key]);
      return;
    }
    chunk.splice(lowerBound(chunk, key), 0, key);
    // a full last chunk is left full, so that keys that come in order fill their chunks
    if (chunk.length > chunkMax)
      this.#chunks.splice(
        index + 1,
        0,
        chunk.splice(index === this.#chunks.length - 1 ? chunkMax : chunkMax / 2),
      );
  }
}

/**
 * The first chunk whose last key is not below `key`; the number of chunks if there is none.
 */
export function chunkOf(chunks: readonly (readonly string[])[], key: string): number {
  let low = 0;
  let high = chunks.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (((chunks[middle] as readonly string[]).at(-1) as string) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The first index whose key is not below `key`. */
export function lowerBound(sorted: readonly string[], key: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as string) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
