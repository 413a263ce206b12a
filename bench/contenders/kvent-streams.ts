/** Kvent: streams as applications use them, on each storage provider. */
import {
  JsonFileProvider,
  MemoryProvider,
  openStorage,
  type StorageProvider,
} from '@kvent/key-value-storage';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { defineStream, event, EventStore, type EventStream } from '@kvent/event-store';
import type { Contender, Opening, Traits } from '../contender.js';
import type { Product } from '../product.js';
import { keyAt, product } from '../product.js';
import {
  bulkIds,
  event as changed,
  hotIds,
  hundred,
  longId,
  keyedIds,
  once,
  readEvents,
  readIds,
  streamIds,
  Versions,
} from '../stream-work.js';

interface Changes {
  readonly count: number;
  readonly last: Product | undefined;
}
const events = { changed: event<Product>() };
const initial = (): Changes => ({ count: 0, last: undefined });
const evolve = ({ count }: Changes, { data }: { readonly data: Product }): Changes => ({
  count: count + 1,
  last: data,
});

const Things = defineStream('thing', { events, initial, evolve, snapshot: { every: 1_000 } });
/** For contended decisions: frequent snapshots, so few events are read. */
const Hot = defineStream('hot', { events, initial, evolve, snapshot: { every: 100 } });
/** The same without snapshots. */
const Bare = defineStream('bare', { events, initial, evolve });

export const openStreamsOnPostgres: Opening = async ({ database, longEvents }) =>
  await open('kvent', longEvents, new PostgresProvider({ ...database }), 'streams in a storage on Postgres');
export const openStreamsOnFile: Opening = async ({ directory, longEvents }) =>
  await open(
    'kvent, JSON file',
    longEvents,
    new JsonFileProvider({ directory: `${directory}/data` }),
    'streams in readable files',
  );
export const openStreamsInMemory: Opening = async ({ longEvents }) =>
  await open('kvent, memory', longEvents, new MemoryProvider(), 'streams in this process');

async function open(
  name: string,
  longEvents: number,
  provider: StorageProvider,
  note: string,
): Promise<Contender> {
  const storage = await openStorage(provider);
  const store = new EventStore(storage);
  const things = store.stream(Things);
  const bare = store.stream(Bare);
  const hot = store.stream(Hot);
  for (const id of readIds) await fill(bare, id, readEvents);
  // Filled at the first use, because so many appends keep a storage busy for a while.
  const filled = {
    things: once(async () => await fill(things, longId, longEvents)),
    bare: once(async () => await fill(bare, longId, longEvents)),
  };
  const versions = new Versions();
  let keys = 0;
  const assertLong = (count: number): void => {
    if (count !== longEvents) throw new Error(`${name} has found ${count} of ${longEvents} events.`);
  };
  const contention = { done: 0, repeated: 0 };
  const append = async (
    id: string,
    newEvents: readonly (typeof changed)[],
    options: { readonly idempotencyKey?: string } = {},
  ) => {
    await bare.append(id, newEvents, { expectedVersion: versions.of(id), ...options });
    versions.add(id, newEvents.length);
  };
  return {
    name,
    traits: { survives: survivesOf(provider), comparesAndSets: true, returns: 'frozen', note },
    verbs: {
      append: (call) => append(keyAt(streamIds, call), [changed]),
      'append 100': (call) => append(keyAt(bulkIds, call), hundred),
      'append, marked': (call) =>
        append(keyAt(keyedIds, call), [changed], { idempotencyKey: `key-${(keys += 1)}` }),
      'hot append': async (call) => {
        const id = keyAt(hotIds, call);
        await bare.append(id, [changed], { expectedVersion: 'any' });
        versions.add(id, 1);
      },
      'hot transact': async (call) => {
        const id = keyAt(hotIds, call);
        let attempts = 0;
        await hot.transact(id, () => {
          attempts += 1;
          return [changed];
        });
        contention.done += 1;
        contention.repeated += attempts - 1;
      },
      'read 1,000': async (call) => {
        let read = 0;
        for await (const { data } of bare.read(keyAt(readIds, call)))
          if (data.stock === product.stock) read += 1;
        if (read !== readEvents) throw new Error(`${name} has read ${read} of ${readEvents} events.`);
      },
      load: async () => {
        await filled.things();
        assertLong((await things.load(longId)).state.count);
      },
      'load, no snapshots': async () => {
        await filled.bare();
        assertLong((await bare.load(longId)).state.count);
      },
      version: async () => {
        await filled.bare();
        assertLong(await bare.version(longId));
      },
    },
    contention,
    verify: async () => {
      await versions.assertLengths(name, (id) => bare.version(id));
      const lengths = await Promise.all(hotIds.map((id) => hot.version(id)));
      const total = lengths.reduce((sum, length) => sum + length, 0);
      if (total !== contention.done)
        throw new Error(`${name} has stored ${total} of ${contention.done} decisions.`);
    },
    close: async () => {
      await store.idle();
      await storage[Symbol.asyncDispose]();
    },
  };
}

const survivesOf = ({ features }: StorageProvider): Traits['survives'] =>
  features.durable === false ? 'nothing' : 'power loss';

async function fill(stream: EventStream<typeof Bare>, id: string, count: number): Promise<void> {
  for (let version = 0; version < count; version += hundred.length)
    await stream.append(id, hundred, { expectedVersion: version });
}
