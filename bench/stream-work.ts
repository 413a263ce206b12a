/**
 * The work of the event suites: every contender writes the same events to the same streams.
 */
import { product } from './product.js';

export const event = { type: 'changed', data: product } as const;
export const hundred = Array.from({ length: 100 }, () => event);

/** Appends use one stream after the other, so concurrent callers have different streams. */
export const streamIds: readonly string[] = Array.from({ length: 1_000 }, (_, index) => `stream-${index}`);
/** The same, for appends of 100 events. */
export const bulkIds: readonly string[] = Array.from({ length: 200 }, (_, index) => `bulk-${index}`);
export const keyedIds: readonly string[] = Array.from({ length: 1_000 }, (_, index) => `keyed-${index}`);
/** Contended streams. */
export const hotIds: readonly string[] = Array.from({ length: 10 }, (_, index) => `hot-${index}`);
/** Each has `readEvents` events. */
export const readIds: readonly string[] = Array.from({ length: 4 }, (_, index) => `read-${index}`);
export const readEvents = 1_000;
/** A stream with many events. */
export const longId = 'long';

/** Runs the work at the first call; all calls wait for it. */
export function once(work: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => (done ??= work());
}

/** Events of a page of a feed. */
export const pageEvents = 1_000;

/**
 * Where each full page of a feed begins, found by reading it once, so that concurrent callers can
 * read different pages.
 */
export async function pageStarts<P>(
  name: string,
  pages: number,
  read: (after: P | undefined) => Promise<{ readonly events: number; readonly next: P }>,
): Promise<readonly (P | undefined)[]> {
  const starts: (P | undefined)[] = [undefined];
  for (let page = 0; page < pages; page += 1) {
    const { events, next } = await read(starts.at(-1));
    if (events !== pageEvents) throw new Error(`${name} has read ${events} of ${pageEvents} events.`);
    starts.push(next);
  }
  return starts.slice(0, pages);
}

/** The version of each stream, counted from the acknowledged appends. */
export class Versions {
  readonly #versions = new Map<string, number>();

  of(id: string): number {
    return this.#versions.get(id) ?? 0;
  }

  add(id: string, by: number): void {
    this.#versions.set(id, this.of(id) + by);
  }

  /** Throws with the name when the length of a stream differs from the acknowledged appends. */
  async assertLengths(name: string, versionOf: (id: string) => Promise<number>): Promise<void> {
    for (const [id, version] of this.#versions) {
      const found = await versionOf(id);
      if (found !== version) throw new Error(`${name} has stored ${found} of ${version} events in ${id}.`);
    }
  }
}
