/**
 * A watch of a state of a projection: of its live generation, and after a switch of the next one.
 * As an object instead of a generator, because `return` of a generator waits for the next item.
 */
import type { WatchOptions } from '@kvent/key-value-storage/core';
import { onAbort } from '@kvent/key-value-storage/internal';
import { isStorageError } from '@kvent/key-value-storage/provider';
import type { Generations, GenerationsRow } from './generations.js';

type WatchOf<Item> = (generation: number, options: WatchOptions) => AsyncIterable<Item>;

/** `watch` may be called later, in the context of another tenant. */
export function watchLive<Item>(
  generations: GenerationsRow,
  watch: WatchOf<Item>,
  { signal, recover = false }: WatchOptions = {},
): AsyncIterableIterator<Item> {
  const ended = new AbortController();
  const follower = follow(generations, watch, recover, ended.signal);
  const items = signal === undefined ? follower : untilAborted(follower, signal, ended);
  return {
    next: async () => await items.next(),
    return: async () => {
      ended.abort();
      return await items.return(undefined);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** The items, which `ended` ends too once the signal aborts. */
async function* untilAborted<Item>(
  items: AsyncGenerator<Item, undefined, undefined>,
  signal: AbortSignal,
  ended: AbortController,
): AsyncGenerator<Item, undefined, undefined> {
  const leave = onAbort(signal, () => ended.abort(signal.reason));
  try {
    yield* items;
  } finally {
    leave();
  }
}

async function* follow<Item>(
  generations: GenerationsRow,
  watch: WatchOf<Item>,
  recover: boolean,
  signal: AbortSignal,
): AsyncGenerator<Item, undefined, undefined> {
  for (let hasLeft = true; hasLeft && !signal.aborted;) {
    const left = new AbortController();
    // oxlint-disable-next-line no-restricted-properties -- both end with the watch
    const options = { recover, signal: AbortSignal.any([signal, left.signal]) };
    const rows = generations.watch(options)[Symbol.asyncIterator]();
    try {
      const first = await rows.next();
      if (first.done === true) return;
      const { generation } = first.value.live;
      let failure: { readonly error: unknown } | undefined;
      leave(rows, generation, left).catch((error: unknown) => {
        failure = { error };
        left.abort();
      });
      for await (const item of watch(generation, options)) {
        // the item may be of rows that are being removed
        if (!(await isLive(generations, generation, recover))) left.abort();
        if (left.signal.aborted) break;
        yield item;
      }
      if (failure !== undefined) throw failure.error;
      hasLeft = left.signal.aborted;
    } finally {
      left.abort();
    }
  }
}

/** Aborts when another generation is live. */
async function leave(
  rows: AsyncIterator<Generations>,
  generation: number,
  left: AbortController,
): Promise<void> {
  for (let next = await rows.next(); next.done !== true; next = await rows.next())
    if (next.value.live.generation !== generation) return left.abort();
}

async function isLive(generations: GenerationsRow, generation: number, recover: boolean): Promise<boolean> {
  try {
    return (await generations.recent()).live.generation === generation;
  } catch (error) {
    // the watch begins again when the engine is back
    if (recover && isStorageError(error, 'STORAGE_UNAVAILABLE')) return false;
    throw error;
  }
}
