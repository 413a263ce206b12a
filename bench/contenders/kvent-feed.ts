/** Kvent: appends with the feed and without it, and the feed in pages. */
import {
  JsonFileProvider,
  MemoryProvider,
  openStorage,
  type StorageProvider,
} from '@kvent/key-value-storage';
import type { FeedPosition } from '@kvent/key-value-storage/provider';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { defineStream, event, EventStore } from '@kvent/event-store';
import type { Contender, Opening, Setup, Traits } from '../contender.js';
import { keyAt, product, type Product } from '../product.js';
import {
  event as changed,
  hundred,
  longId,
  pageEvents,
  pageStarts,
  streamIds,
  Versions,
} from '../stream-work.js';

const definition = {
  events: { changed: event<Product>() },
  initial: () => 0,
  evolve: (count: number) => count + 1,
};
const Things = defineStream('thing', definition);
const Unfed = defineStream('thing', { ...definition, feed: false });
/**
 * What the pages are read of: appends do not change it. Without the feed, as many rows are there.
 */
const Past = defineStream('past', definition);
const UnfedPast = defineStream('past', { ...definition, feed: false });

export const withoutFeed = 'kvent, feed: false';

const onPostgres = ({ database }: Setup): StorageProvider => new PostgresProvider({ ...database });
const onFile = ({ directory }: Setup): StorageProvider =>
  new JsonFileProvider({ directory: `${directory}/data` });
const inMemory = (): StorageProvider => new MemoryProvider();

/** With the feed, and without it. */
const openings = (providerOf: (setup: Setup) => StorageProvider): readonly Opening[] => [
  async (setup) => await openFed(providerOf(setup), setup.longEvents),
  async (setup) => await openUnfed(providerOf(setup), setup.longEvents),
];
export const feedOnPostgres = openings(onPostgres);
export const feedOnFile = openings(onFile);
export const feedInMemory = openings(inMemory);

async function openFed(provider: StorageProvider, longEvents: number): Promise<Contender> {
  const { store, contender } = await open('kvent', Things, provider);
  const readPage = async (after: FeedPosition | undefined) => {
    const { events, next } = await store.readFeed({ streams: [Past], after, limit: pageEvents });
    return { events: events.filter(({ data }) => data.stock === product.stock).length, next };
  };
  await fill(store, Past, longEvents);
  const starts = await pageStarts('kvent', Math.floor(longEvents / pageEvents), readPage);
  const verbs = {
    ...contender.verbs,
    'feed page': async (call: number) => {
      const { events } = await readPage(keyAt(starts, call));
      if (events !== pageEvents) throw new Error(`kvent has read ${events} of ${pageEvents} events.`);
    },
  };
  return { ...contender, verbs };
}

async function openUnfed(provider: StorageProvider, longEvents: number): Promise<Contender> {
  const { store, contender } = await open(withoutFeed, Unfed, provider);
  await fill(store, UnfedPast, longEvents);
  return contender;
}

async function fill(store: EventStore, stream: typeof Past, events: number): Promise<void> {
  const past = store.stream(stream);
  for (let version = 0; version < events; version += hundred.length)
    await past.append(longId, hundred, { expectedVersion: version });
}

async function open(
  name: string,
  stream: typeof Things,
  provider: StorageProvider,
): Promise<{ readonly store: EventStore; readonly contender: Contender }> {
  const storage = await openStorage(provider);
  const store = new EventStore(storage);
  const things = store.stream(stream);
  const versions = new Versions();
  const survives: Traits['survives'] = provider.features.durable === false ? 'nothing' : 'power loss';
  const contender: Contender = {
    name,
    traits: { survives, comparesAndSets: true, returns: 'frozen' },
    verbs: {
      append: async (call) => {
        const id = keyAt(streamIds, call);
        await things.append(id, [changed], { expectedVersion: versions.of(id) });
        versions.add(id, 1);
      },
    },
    verify: () => versions.assertLengths(name, (id) => things.version(id)),
    close: async () => {
      await store.idle();
      await storage[Symbol.asyncDispose]();
    },
  };
  return { store, contender };
}
