/**
 * The cost of watches: what unrelated watches add to a write, in CPU time of the process, and the
 * time from a commit to the item of a watch in another process.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import {
  JsonFileProvider,
  MemoryProvider,
  openStorage,
  type KeyValueStore,
  type StorageProvider,
} from '@kvent/key-value-storage';
import { PostgresProvider } from '@kvent/key-value-postgres';
import type { DatabaseServer } from './database-server.js';
import { keyAt, keysOf, product, type Product } from './product.js';
import { median, percentile } from './statistics.js';
import { columns } from './table.js';
import { Products, type Shown } from './watches-child.js';

const watchesMax = 1_000;
/** The most that unrelated watches may cost a set: less than 3 %. */
const costAim = 1.03;
const keys = keysOf(1_000);

interface WriterCost {
  readonly provider: string;
  readonly alone: number;
  /** CPU time of a set beside the watches, as a multiple of that without, in the same round. */
  readonly ratio: number;
  readonly quartiles: readonly [number, number];
}
interface ItemDelay {
  readonly provider: string;
  readonly items: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}
export interface WatchesResult {
  readonly costs: readonly WriterCost[];
  /** CPU time of the polls on Postgres while nothing changes, in per cent of one core. */
  readonly idlePercent: number;
  readonly delays: readonly ItemDelay[];
}

interface Options {
  readonly directory: string;
  readonly server: DatabaseServer;
  readonly rounds: number;
  /** Number of items whose delay is measured. */
  readonly items: number;
}

export async function measureWatches({ directory, server, rounds, items }: Options): Promise<WatchesResult> {
  const schemas = ['kvent_watches', 'kvent_watches_notify'];
  try {
    for (const schema of schemas) await server.create(schema);
    const [polled, notified] = schemas.map((schema, index) => ({
      url: server.url,
      schema,
      notify: index === 1,
    })) as [PostgresOptions, PostgresOptions];
    const pair = <P>(make: (number: number) => P): readonly [P, P] => [make(0), make(1)];
    const costs = [
      await writerCost(
        'memory',
        pair(() => new MemoryProvider()),
        { rounds: rounds * 10, calls: 10_000, callers: 1 },
      ),
      await writerCost(
        'JSON file',
        pair((number) => new JsonFileProvider({ directory: join(directory, `json-${number}`) })),
        { rounds: rounds * 10, calls: 3_200, callers: 64 },
      ),
    ];
    costs.push(
      await costBesidePolls('Postgres', new PostgresProvider(polled), { rounds, calls: 60_000, callers: 64 }),
    );
    const idlePercent = await idleCost(new PostgresProvider(polled));
    const delays = [
      await itemDelay('Postgres', polled, items),
      await itemDelay('Postgres, notify', notified, items),
    ];
    return { costs, idlePercent, delays };
  } finally {
    for (const schema of schemas) await server.drop(schema);
  }
}

interface Work {
  readonly rounds: number;
  readonly calls: number;
  readonly callers: number;
}

/**
 * Each round has a window on a storage without watches and one on a storage beside them, in
 * alternating order. Both are open all the time: starting the watches in a round would leave
 * garbage, which is collected in the window.
 */
async function writerCost(
  name: string,
  [one, other]: readonly [StorageProvider, StorageProvider],
  work: Work,
): Promise<WriterCost> {
  await using plain = await openStorage(one);
  await using watched = await openStorage(other);
  const stores = [plain.store(Products), watched.store(Products)] as const;
  for (const store of stores) await setAll(store, work);
  const stop = new AbortController();
  const { ended } = await startWatches(stores[1], stop.signal);
  const costs: readonly [number[], number[]] = [[], []];
  for (let round = -1; round < work.rounds; round += 1)
    for (const index of round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
      const cost = await cpuOfSet(stores[index], work);
      // one round to warm up
      if (round >= 0) costs[index].push(cost);
    }
  stop.abort();
  await ended;
  return costOf(name, costs);
}

/** Until the watches are polled as rarely as without changes: their keys do not change. */
const slowedMs = 4_000;

/**
 * The same where watches are polled: the polls are work of the process too, so there are none in
 * the window without watches. Before each window some is written, so that what the start of the
 * watches has left is collected before.
 */
async function costBesidePolls(name: string, provider: StorageProvider, work: Work): Promise<WriterCost> {
  await using storage = await openStorage(provider);
  const store = storage.store(Products);
  const warmUp = { ...work, calls: work.calls / 6 };
  const costs: readonly [number[], number[]] = [[], []];
  const windows = [
    async () => {
      await setAll(store, warmUp);
      return await cpuOfSet(store, work);
    },
    async () => {
      const stop = new AbortController();
      const { ended } = await startWatches(store, stop.signal);
      await wait(slowedMs);
      await setAll(store, warmUp);
      const cost = await cpuOfSet(store, work);
      stop.abort();
      await ended;
      return cost;
    },
  ] as const;
  for (let round = -1; round < work.rounds; round += 1)
    for (const index of round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
      const cost = await windows[index]();
      // one round to warm up
      if (round >= 0) costs[index].push(cost);
    }
  return costOf(name, costs);
}

function costOf(
  provider: string,
  [alone, beside]: readonly [readonly number[], readonly number[]],
): WriterCost {
  const ratios = beside.map((cost, round) => cost / (alone[round] as number));
  return {
    provider,
    alone: median(alone),
    ratio: median(ratios),
    quartiles: [percentile(ratios, 0.25), percentile(ratios, 0.75)],
  };
}

const idleMs = 5_000;

async function idleCost(provider: StorageProvider): Promise<number> {
  await using storage = await openStorage(provider);
  const stop = new AbortController();
  const { ended } = await startWatches(storage.store(Products), stop.signal);
  await wait(idleMs);
  const begun = process.cpuUsage();
  await wait(idleMs);
  const { user, system } = process.cpuUsage(begun);
  stop.abort();
  await ended;
  return ((user + system) / 1_000 / idleMs) * 100;
}

/** Microseconds of CPU time of this process for one set. */
async function cpuOfSet(store: KeyValueStore<Product>, work: Work): Promise<number> {
  const begun = process.cpuUsage();
  await setAll(store, work);
  const { user, system } = process.cpuUsage(begun);
  return (user + system) / work.calls;
}

async function setAll(store: KeyValueStore<Product>, { calls, callers }: Work): Promise<void> {
  let call = 0;
  const caller = async (): Promise<void> => {
    while (call < calls) await store.set(keyAt(keys, call++), product);
  };
  await Promise.all(Array.from({ length: callers }, caller));
}

/** Watches of keys that are not written; all of them have shown their first item. */
async function startWatches(
  store: KeyValueStore<Product>,
  signal: AbortSignal,
): Promise<{ readonly ended: Promise<unknown> }> {
  const watches = Array.from({ length: watchesMax }, (_, index) =>
    store.watch(`unrelated-${index}`, { signal })[Symbol.asyncIterator](),
  );
  await Promise.all(watches.map((watch) => watch.next()));
  return { ended: Promise.allSettled(watches.map((watch) => watch.next())) };
}

type PostgresOptions = { readonly url: string; readonly schema: string; readonly notify: boolean };

/**
 * Writes in this process, and watches in another one: the time from the acknowledgement of a write
 * to its item. Before each write is a random pause, so that the writes do not follow the polls.
 */
async function itemDelay(name: string, options: PostgresOptions, items: number): Promise<ItemDelay> {
  await using storage = await openStorage(new PostgresProvider(options));
  const store = storage.store(Products);
  await store.set('watched', product);
  const child = fork(join(import.meta.dirname, 'watches-child.js'), [JSON.stringify(options)]);
  const exited = once(child, 'exit');
  try {
    await once(child, 'message');
    const delaysMs: number[] = [];
    for (let stock = 1; stock <= items; stock += 1) {
      await wait(Math.random() * 300);
      const shown = once(child, 'message') as Promise<[Shown]>;
      await store.set('watched', { ...product, stock: -stock });
      const at = performance.timeOrigin + performance.now();
      const [item] = await shown;
      if (item.stock !== -stock) throw new Error(`${name} has shown ${item.stock} instead of ${-stock}.`);
      delaysMs.push(item.at - at);
    }
    return { provider: name, items, p50Ms: percentile(delaysMs, 0.5), p99Ms: percentile(delaysMs, 0.99) };
  } finally {
    child.disconnect();
    await exited;
  }
}

export function watchesTable({ costs, idlePercent, delays }: WatchesResult): string {
  const us = (value: number): string => value.toFixed(2);
  const costLines = costs.map(({ provider, alone, ratio, quartiles: [low, high] }) => [
    provider,
    us(alone),
    ratio.toFixed(3),
    `${low.toFixed(3)}–${high.toFixed(3)}`,
  ]);
  const delayLines = delays.map(({ provider, items, p50Ms, p99Ms }) => [
    provider,
    String(items),
    p50Ms.toFixed(1),
    p99Ms.toFixed(1),
  ]);
  return [
    `a set beside ${watchesMax.toLocaleString('en')} watches of other keys: CPU time of the process, × without them`,
    ...columns([['', 'CPU µs alone', '×', 'quartiles'], ...costLines]).map((line) => `  ${line}`),
    ...costs.map(
      ({ provider, ratio }) =>
        `  aim: < ${costAim} ×, ${ratio < costAim ? 'reached' : 'MISSED'} by ${provider}`,
    ),
    '',
    `polls of ${watchesMax.toLocaleString('en')} watches on Postgres, while nothing changes: ${idlePercent.toFixed(1)} % of a core`,
    '',
    'from a commit to the item of a watch in another process',
    ...columns([['', 'items', 'p50 ms', 'p99 ms'], ...delayLines]).map((line) => `  ${line}`),
    '',
  ].join('\n');
}
