/**
 * What the contenders of the event suites do: the same events, the same streams, the same sizes.
 */
import { product } from './product.js';

export const event = { type: 'changed', data: product } as const;
export const hundred = Array.from({ length: 100 }, () => event);

/** Streams that are appended to in turn, so that callers of the same moment have different ones. */
export const streamIds: readonly string[] = Array.from({ length: 1_000 }, (_, index) => `stream-${index}`);
/** The same for appends of a hundred. */
export const bulkIds: readonly string[] = Array.from({ length: 200 }, (_, index) => `bulk-${index}`);
export const markedIds: readonly string[] = Array.from({ length: 1_000 }, (_, index) => `marked-${index}`);
/** Streams that all want at once. */
export const hotIds: readonly string[] = Array.from({ length: 10 }, (_, index) => `hot-${index}`);
/** Each has a thousand events. */
export const readIds: readonly string[] = Array.from({ length: 4 }, (_, index) => `read-${index}`);
export const readEvents = 1_000;
/** One that is long. */
export const longId = 'long';

/** How often something went on from what it was told last: each id has its own. */
export class Versions {
  readonly #versions = new Map<string, number>();

  of(id: string): number {
    return this.#versions.get(id) ?? 0;
  }

  grown(id: string, by: number): void {
    this.#versions.set(id, this.of(id) + by);
  }

  /** Throws by name when a stream is not as long as what was answered says. */
  async assertKept(name: string, versionOf: (id: string) => Promise<number>): Promise<void> {
    for (const [id, version] of this.#versions) {
      const found = await versionOf(id);
      if (found !== version) throw new Error(`${name} holds ${found} events of ${version} in ${id}.`);
    }
  }
}
