/**
 * Says of most keys that they are not in a set, by a few of their characters. A lookup in a map of
 * a thousand keys reads the texts of other keys, which are rarely in the cache of the processor:
 * it costs a commit in memory three per cent.
 */
const cells = 8_192;

export class KeyFilter {
  /** How many keys of the set have the same characters at these places. */
  readonly #counts = new Uint32Array(cells);

  add(key: string): void {
    (this.#counts[cellOf(key)] as number) += 1;
  }

  remove(key: string): void {
    (this.#counts[cellOf(key)] as number) -= 1;
  }

  /** False: it is not in the set. */
  mayHave(key: string): boolean {
    return this.#counts[cellOf(key)] !== 0;
  }
}

function cellOf(key: string): number {
  const last = key.length - 1;
  let hash = last;
  hash = Math.imul(hash, 31) + key.charCodeAt(0);
  hash = Math.imul(hash, 31) + key.charCodeAt(last >> 1);
  hash = Math.imul(hash, 31) + key.charCodeAt(Math.max(0, last - 1));
  hash = Math.imul(hash, 31) + key.charCodeAt(last);
  return (hash ^ (hash >>> 13)) & (cells - 1);
}
