/**
 * The first two processes watch a thousand keys; the others write them once these are shown. A
 * watching process ends when every writer has ended and each watch has shown the last state of its
 * key.
 */
import { defineState, type KeyValueStorage } from '@kvent/key-value-storage/core';

interface WatchOptions {
  readonly process: number;
  readonly rounds: number;
}

/** `at`: the time of day when the write began, for the delay. */
const Watched = defineState<{ readonly text: string; readonly at: number }>('watched');
/** How many processes watch all keys, and how many have written all. */
const Arrived = defineState<{ readonly processes: number }>('arrived');

const watchers = 2;
const keys = Array.from({ length: 1_000 }, (_, number) => `key-${number}`);
const callers = 8;

/** `rounds`: writes of each caller. `writers` is the number of processes that write. */
export async function watchOrWrite(
  storage: KeyValueStorage,
  { process, rounds }: WatchOptions,
  writers: number,
) {
  return process < watchers ? await watchKeys(storage, writers) : await writeKeys(storage, process, rounds);
}

async function writeKeys(storage: KeyValueStorage, process: number, rounds: number) {
  const store = storage.store(Watched);
  await untilArrived(storage, 'watching', watchers);
  const caller = async (number: number): Promise<void> => {
    for (let round = 0; round < rounds; round += 1) {
      const key = keys[(round * 7 + number * 131 + process * 17) % keys.length] as string;
      await store.set(key, { text: `${process}.${number}.${round}`, at: Date.now() });
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, number) => caller(number)));
  await arrive(storage, 'written');
  return { did: { written: callers * rounds }, wrong: [] };
}

async function watchKeys(storage: KeyValueStorage, writers: number) {
  const store = storage.store(Watched);
  const stop = new AbortController();
  const shown = new Map<string, string | undefined>();
  let [items, delayMsMost] = [0, 0];
  let shownAll: () => void = () => undefined;
  const isShown = new Promise<void>((resolve) => (shownAll = resolve));
  const follow = async (key: string): Promise<void> => {
    for await (const entry of store.watch(key, { signal: stop.signal })) {
      shown.set(key, entry?.value.text);
      items += 1;
      if (items === keys.length) shownAll();
      if (entry !== undefined) delayMsMost = Math.max(delayMsMost, Date.now() - entry.value.at);
    }
  };
  const following = keys.map(follow);
  // nothing is written before: so these are the first states
  await isShown;
  await arrive(storage, 'watching');
  await untilArrived(storage, 'written', writers);
  const last = await store.getMany(keys);
  const outdated = (): readonly string[] =>
    keys.filter((key, index) => shown.get(key) !== last[index]?.value.text);
  // longer than any poll: what is still missing then is lost
  for (let turn = 0; turn < 600 && outdated().length > 0; turn += 1)
    await new Promise((resolve) => setTimeout(resolve, 100));
  const wrong = outdated().map((key) => `the last state of ${key} was not shown`);
  stop.abort();
  await Promise.all(following);
  return { did: { shown: items, delayMsMost }, wrong };
}

async function arrive(storage: KeyValueStorage, where: string): Promise<void> {
  await storage.store(Arrived).update(where, ({ processes }) => ({ processes: processes + 1 }), {
    initial: () => ({ processes: 0 }),
  });
}

async function untilArrived(storage: KeyValueStorage, where: string, processes: number): Promise<void> {
  for await (const arrived of storage.store(Arrived).watch(where))
    if (arrived?.value.processes === processes) return;
}
