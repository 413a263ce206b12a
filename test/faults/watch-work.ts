/**
 * Two processes watch a thousand keys in each way, and four others write them once all are shown. A
 * watching process ends when every writer has ended, and each watch has shown the last state of its
 * keys. What both have done is checked by `watch-check.ts`.
 */
import { defineState, type KeyValueStorage, type StorageProvider } from '@kvent/key-value-storage/core';
import { PostgresProvider } from '@kvent/key-value-postgres';
import {
  clockMs,
  recordTicks,
  Watched,
  watchedKeys,
  watchKinds,
  WatchView,
  type WatchLog,
  type WriteLog,
} from './watch-view.js';

/** How many processes watch all keys, and how many have written all. */
const Arrived = defineState<{ readonly processes: number }>('arrived');

export const watchers = 2;
export const writers = 4;
/** Of each writer. */
export const callers = 8;
/** Between two polls, however little changes: so "a poll" is one number. */
export const pollMs = 200;

/** How long it is written: so many writes of each caller, or so many seconds. */
export interface WatchRun {
  readonly until: 'watchedWrites' | 'watchedSeconds';
  readonly amount: number;
}

interface WatchOptions {
  readonly url: string;
  /** The number of this process: first those that watch. */
  readonly process: number;
}

/** The work of a process on Postgres. */
export async function watchOrWrite(storage: KeyValueStorage, { url, process }: WatchOptions, run: WatchRun) {
  const log =
    process < watchers
      ? await watchAll(storage, () => new PostgresProvider({ url, poolSize: 4 }), pollMs)
      : await writeWatched(storage, process, run);
  return { did: {}, wrong: [], log };
}

/** `process`: its number, so that each writes the keys in another order. */
export async function writeWatched(
  storage: KeyValueStorage,
  process: number,
  { until, amount }: WatchRun,
): Promise<WriteLog> {
  const store = storage.store(Watched);
  const log: number[] = [];
  await untilArrived(storage, 'watching', watchers);
  const begunAt = performance.now();
  const isOver = (round: number): boolean =>
    until === 'watchedWrites' ? round === amount : performance.now() > begunAt + amount * 1_000;
  const caller = async (number: number): Promise<void> => {
    for (let round = 0; !isOver(round); round += 1) {
      const key = (round * 7 + number * 131 + process * 17) % watchedKeys.length;
      const { value } = await store.update(
        watchedKeys[key] as string,
        ({ count }) => ({ count: count + 1 }),
        { initial: () => ({ count: 0 }), retry: { attempts: 1_000, budgetMs: 120_000 } },
      );
      log.push(key, value.count, clockMs());
      // an engine in memory would leave no time for timers
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, number) => caller(number)));
  await arrive(storage, 'written');
  return log;
}

/** `provider` returns one for each view of the same data. */
export async function watchAll(
  storage: KeyValueStorage,
  provider: () => StorageProvider,
  poll: number,
): Promise<WatchLog> {
  using ticks = recordTicks();
  const views = await Promise.all(watchKinds.map((kind) => WatchView.open(kind, provider(), poll)));
  await arrive(storage, 'watching');
  await untilArrived(storage, 'written', writers);
  const last = (await storage.store(Watched).getMany(watchedKeys)).map((entry) => entry?.value.count ?? 0);
  const isShown = ({ counts }: WatchView): boolean => last.every((count, key) => counts[key] === count);
  // longer than any poll: what is still missing then is lost
  for (let turn = 0; turn < 600 && !views.every(isShown); turn += 1)
    await new Promise((resolve) => setTimeout(resolve, 100));
  const logs = await Promise.all(views.map((view) => view.close()));
  return { pollMs: poll, ticks: ticks.times, views: logs };
}

async function arrive(storage: KeyValueStorage, where: string): Promise<void> {
  await storage.store(Arrived).update(where, ({ processes }) => ({ processes: processes + 1 }), {
    initial: () => ({ processes: 0 }),
    retry: { attempts: 1_000, budgetMs: 120_000 },
  });
}

async function untilArrived(storage: KeyValueStorage, where: string, processes: number): Promise<void> {
  for await (const arrived of storage.store(Arrived).watch(where))
    if (arrived?.value.processes === processes) return;
}
