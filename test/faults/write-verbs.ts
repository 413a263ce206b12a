/**
 * Every verb that writes, for tests of what it does when its answer is lost. The records are typed
 * by the methods of the stores, the streams and the storage: a new verb does not compile until it
 * has a row here, or is named among those that write nothing or have a test of their own.
 */
import { defineStream, event, type EventStore, type EventStream } from '@kvent/event-store/core';
import {
  defineBigCounter,
  defineCounter,
  defineShardedCounter,
  defineState,
  StateMigration,
  type CounterStore,
  type KeyValueStorage,
  type KeyValueStore,
  type ShardedCounter,
} from '@kvent/key-value-storage/core';
import { encodeKey } from '@kvent/key-value-storage/provider';
import { collect } from '@kvent/key-value-storage/testing';
import { until } from '../postgres/until.js';

export interface Thing {
  readonly n: number;
  readonly mark: string;
}
export const Things = defineState<Thing>('thing');
const IndexedThings = defineState<Thing>('indexed', {
  indexes: { byN: ({ n }: Thing) => [n], byMark: { key: ({ mark }: Thing) => mark, unique: true } },
});
const Cleared = defineState<Thing>('cleared');
const IndexedCleared = defineState<Thing>('cleared indexed', { indexes: { byN: ({ n }: Thing) => [n] } });
const Old = defineState<Thing>('migrated');
const Migrated = defineState<Thing>('migrated', {
  schemaVersion: 2,
  upcast: { 1: (value: Thing) => ({ ...value, n: 2 }) },
});
const Copied = defineState<Thing>('copied');
const Copies = defineState<Thing>('copies');
export const Counts = defineCounter('count');
const BigCounts = defineBigCounter('big');
const ShardedCounts = defineShardedCounter('sharded', { shards: 4 });
export const Notes = defineStream('note', {
  events: { noted: event<{ mark: string }>() },
  initial: (): readonly string[] => [],
  evolve: (marks, { data: { mark } }) => [...marks, mark],
});

export interface IdempotencyOptions {
  readonly idempotencyKey?: string | { readonly key: string; readonly content: unknown };
}
/** What a verb is called with: `mark` is a text in its value or event. */
export interface Call {
  readonly key: string;
  readonly mark: string;
  readonly options: IdempotencyOptions;
  /** What `prepare` has returned. */
  readonly etag: string;
}
export interface Verb {
  readonly call: (call: Call) => Promise<unknown>;
  /** The effect: it differs after each commit, or with `keyed: false` after the first one. */
  readonly state: (key: string) => Promise<unknown>;
  readonly prepare?: (key: string) => Promise<string>;
  /** A text that only the request of the commit has. @default the mark */
  readonly marker?: (call: Call) => string;
  /** Whether it takes a key. @default true */
  readonly keyed?: boolean;
  /** The error of a repeat of what was done, without a key. @default none: the repeat is done */
  readonly refusal?: string;
}
export type Verbs = Readonly<Record<string, Verb>>;

export const markOf = (key: string): string => `mark of ${key}`;

/** `of`: added to the names. */
const named = (verbs: Verbs, of: string): Verbs =>
  Object.fromEntries(Object.entries(verbs).map(([name, verb]) => [`${name} ${of}`, verb]));

/** The digest of a call, which only the record of its key has. */
const digest = 'sha256-';
/** Only the commit has the version that was read; with a key, only it has a digest. */
const byEtag = ({ etag, options }: Call): string => (options.idempotencyKey === undefined ? etag : digest);
const byKey = ({ key, options }: Call): string => (options.idempotencyKey === undefined ? key : digest);

// ─── stores

type Elsewhere = 'forTenant' | 'within';
type StoreReads =
  | ('get' | 'getOrThrow' | 'has' | 'stat' | 'getMany')
  | ('export' | 'list' | 'page' | 'keys' | 'count')
  | ('watch' | 'watchMany' | 'watchRange');
type StoreVerb = Exclude<keyof KeyValueStore<Thing>, StoreReads | Elsewhere>;

/** `cleared`: a store that `clear` may empty. `reads`: whether a deletion reads the entry first. */
function verbsOfStore(
  things: () => KeyValueStore<Thing>,
  cleared: () => KeyValueStore<Thing>,
  reads: boolean,
): Record<StoreVerb, Verb> {
  const state = async (key: string): Promise<unknown> => {
    const entry = await things().get(key);
    return entry && { etag: entry.etag, value: entry.value, expiresAt: entry.expiresAt };
  };
  const valueOf = async (key: string): Promise<unknown> => (await things().get(key))?.value;
  const prepare = async (key: string): Promise<string> =>
    (await things().add(key, { n: 1, mark: `before ${key}` }, { ttlMs: 3_600_000 })).etag;
  const deleting = reads ? byEtag : byKey;
  const many = { state: valueOf, keyed: false };
  const itemOf = ({ key, mark }: Call) => ({ key, value: { n: 1, mark } });
  const below = (key: string): string => `${key}/`;
  return {
    add: { state, call: ({ key, mark, options }) => things().add(key, { n: 1, mark }, options) },
    getOrAdd: {
      state,
      call: ({ key, mark, options }) => things().getOrAdd(key, () => ({ n: 1, mark }), options),
    },
    set: { state, prepare, call: ({ key, mark, options }) => things().set(key, { n: 1, mark }, options) },
    replace: {
      state,
      prepare,
      call: ({ key, mark, options }) => things().replace(key, { n: 1, mark }, options),
    },
    save: {
      state,
      prepare,
      call: async ({ key, mark, options }) =>
        await things().save((await things().getOrThrow(key)).with({ mark }), options),
    },
    update: {
      state,
      prepare,
      call: ({ key, mark, options }) => things().update(key, ({ n }) => ({ n: n + 1, mark }), options),
    },
    touch: {
      state,
      prepare,
      marker: byEtag,
      call: ({ key, options }) => things().touch(key, { ttlMs: 7_200_000, ...options }),
    },
    delete: { state, prepare, marker: deleting, call: ({ key, options }) => things().delete(key, options) },
    take: { state, prepare, marker: byEtag, call: ({ key, options }) => things().take(key, options) },
    setMany: { ...many, prepare, call: (call) => things().setMany([itemOf(call)]) },
    addMany: { ...many, refusal: 'KEY_EXISTS', call: (call) => things().addMany([itemOf(call)]) },
    loadFrom: { ...many, call: (call) => things().loadFrom([itemOf(call)], { onError: 'continue' }) },
    deleteKeys: { ...many, prepare, marker: deleting, call: ({ key }) => things().deleteKeys([key]) },
    deleteMany: {
      ...many,
      state: (key) => things().count({ prefix: below(key) }),
      prepare: async (key) => {
        const entries = [1, 2].map((n) => ({ key: `${below(key)}${n}`, value: { n, mark: `${key} ${n}` } }));
        return (await things().addMany(entries))[0]?.etag ?? '';
      },
      marker: ({ key, etag }) => (reads ? etag : `${below(key)}2`),
      call: ({ key }) => things().deleteMany({ prefix: below(key) }),
    },
    clear: {
      ...many,
      state: (key) => cleared().has(key),
      prepare: async (key) => (await cleared().add(key, { n: 1, mark: key })).etag,
      marker: deleting,
      call: () => cleared().clear(),
    },
  };
}

// ─── counters

type CounterVerb = Exclude<keyof CounterStore, 'get' | 'getMany' | 'list' | Elsewhere>;
type ShardedVerb = Exclude<keyof ShardedCounter, 'get' | 'getMany' | Elsewhere>;

function verbsOfCounter<N extends number | bigint>(
  counts: () => CounterStore<N>,
  number: (n: number) => N,
): Record<CounterVerb, Verb> {
  const counter = {
    state: (key: string) => counts().get(key),
    prepare: async (key: string) => String(await counts().increment(key, number(5))),
    marker: byKey,
  };
  return {
    increment: { ...counter, call: ({ key, options }) => counts().increment(key, number(2), options) },
    decrement: { ...counter, call: ({ key, options }) => counts().decrement(key, number(2), options) },
    raiseTo: { ...counter, call: ({ key, options }) => counts().raiseTo(key, number(9), options) },
    lowerTo: { ...counter, call: ({ key, options }) => counts().lowerTo(key, number(2), options) },
    reset: { ...counter, call: ({ key, options }) => counts().reset(key, options) },
  };
}

function verbsOfSharded(counts: () => ShardedCounter): Record<ShardedVerb, Verb> {
  const counter = {
    state: (key: string) => counts().get(key),
    prepare: async (key: string) => {
      // of two shards
      await counts().increment(key, 2);
      await counts().increment(key, 3);
      return '';
    },
    marker: byKey,
  };
  return {
    increment: { ...counter, call: ({ key, options }) => counts().increment(key, 2, options) },
    decrement: { ...counter, call: ({ key, options }) => counts().decrement(key, 2, options) },
    reset: { ...counter, call: ({ key, options }) => counts().reset(key, options) },
  };
}

// ─── streams

type Stream = EventStream<typeof Notes>;
type StreamReads =
  | ('load' | 'loadOrThrow' | 'read' | 'version' | 'page' | 'snapshotVersions')
  | ('findByIdempotencyKey' | 'findByIdempotencyKeyOrThrow');
/** `appending` is committed by `a batch`, `session` by `streams-lost-answers.spec.ts` too. */
type StreamVerb = Exclude<
  keyof Stream,
  StreamReads | Elsewhere | 'appending' | 'session' | 'openSession' | 'unlock'
>;

function verbsOfStream(notes: () => Stream): Record<StreamVerb | 'append of a session', Verb> {
  const state = (id: string) => notes().version(id);
  const noted = (mark: string) => ({ type: 'noted', data: { mark } }) as const;
  const append = async (id: string): Promise<string> => {
    await notes().append(id, [noted(markOf(id)), noted('second')], { expectedVersion: 0 });
    return '';
  };
  const ofSnapshot = { state: (id: string) => notes().snapshotVersions(id), prepare: append, keyed: false };
  return {
    append: {
      state,
      call: ({ key, mark, options }) =>
        notes().append(key, [noted(mark)], { expectedVersion: 'any', ...options }),
    },
    transact: {
      state,
      call: ({ key, mark, options }) => notes().transact(key, () => [noted(mark)], options),
    },
    'append of a session': {
      state,
      call: async ({ key, mark, options }) =>
        await notes().session(key, async (session) => {
          await session.append([noted(mark)], options);
          return session.version;
        }),
    },
    delete: {
      state,
      prepare: append,
      keyed: false,
      marker: () => '"deleted":true',
      call: ({ key }) => notes().delete(key),
    },
    snapshot: { ...ofSnapshot, call: ({ key }) => notes().snapshot(key) },
    snapshotAll: { ...ofSnapshot, call: ({ key }) => notes().snapshotAll(key, { every: 2 }) },
    clearSnapshots: {
      ...ofSnapshot,
      prepare: async (id) => {
        await append(id);
        return String(await notes().snapshot(id));
      },
      // a scan of them begins with that of version 1
      marker: () => encodeKey([1, 2]),
      call: ({ key }) => notes().clearSnapshots(key),
    },
  };
}

// ─── the storage

/** `store` and `within` call no provider, `compact` writes nothing on Postgres. */
type StorageVerb = Exclude<
  keyof KeyValueStorage,
  'store' | 'within' | 'atomic' | 'tenants' | 'compact' | 'close' | typeof Symbol.asyncDispose
>;

function verbsOfStorage(
  storage: () => KeyValueStorage,
  /** The number of rows of a key that are stored, expired ones included. */
  stored: (key: string) => Promise<number>,
): Record<StorageVerb, Verb> {
  const things = () => storage().store(Things);
  return {
    sweep: {
      keyed: false,
      state: stored,
      prepare: async (key) => {
        const { etag } = await things().add(key, { n: 1, mark: '' }, { ttlMs: 1 });
        await until('it has expired', async () => !(await things().has(key)));
        return etag;
      },
      marker: () => '987654',
      call: () => storage().sweep(987_654),
    },
    dropTenant: {
      keyed: false,
      state: (key) => things().forTenant(key).has('thing'),
      prepare: async (key) => (await things().forTenant(key).add('thing', { n: 1, mark: '' })).etag,
      marker: ({ key }) => key,
      call: ({ key }) => storage().dropTenant(key),
    },
  };
}

function batches(storage: () => KeyValueStorage, notes: () => Stream): Verbs {
  const things = () => storage().store(Things);
  const counts = () => storage().store(Counts);
  const state = async (key: string): Promise<unknown> => [
    (await things().getMany([key, `${key}-2`, `${key}-3`, `${key}-4`])).map(
      (entry) => entry && [entry.etag, entry.value],
    ),
    await counts().getMany([key, `${key}-2`, `${key}-3`, `${key}-4`]),
    await notes().version(key),
  ];
  const prepare = async (key: string): Promise<string> => {
    const keys = [`${key}-2`, `${key}-3`, `${key}-4`];
    const [saved] = await things().addMany(keys.map((each) => ({ key: each, value: { n: 1, mark: '' } })));
    return saved?.etag ?? '';
  };
  return {
    'a batch': {
      state,
      prepare,
      call: ({ key, mark, options }) =>
        storage()
          .atomic()
          .add(things(), key, { n: 1, mark })
          .set(things(), `${key}-2`, { n: 2, mark })
          .replace(things(), `${key}-3`, { n: 2, mark })
          .delete(things(), `${key}-4`)
          .increment(counts(), key)
          .decrement(counts(), `${key}-2`)
          .raiseTo(counts(), `${key}-3`, 3)
          .lowerTo(counts(), `${key}-4`, -4)
          .include(notes().appending(key, [{ type: 'noted', data: { mark } }], { expectedVersion: 'any' }))
          .commit(options),
    },
    'a batch that rests on what was read': {
      state,
      prepare,
      call: async ({ key, mark, options }) => {
        const entry = await things().getOrThrow(`${key}-2`);
        return await storage()
          .atomic()
          .save(things(), entry.with({ mark }))
          .increment(counts(), key)
          .commit(options);
      },
    },
  };
}

// ─── migrations

type MigrationVerb = Exclude<keyof StateMigration<Thing>, 'versions'>;

function verbsOfMigrations(storage: () => KeyValueStorage): Verbs {
  const old = () => storage().store(Old);
  const migrated = () => storage().store(Migrated);
  const rewriting: Record<MigrationVerb, Verb> = {
    run: {
      keyed: false,
      // a rewritten entry has another etag
      state: async (key) => (await migrated().stat(key))?.etag,
      prepare: async (key) => (await old().add(key, { n: 1, mark: markOf(key) })).etag,
      call: () => new StateMigration(migrated()).run(),
    },
  };
  const copied = () => storage().store(Copied);
  const copying = (target: () => KeyValueStore<Thing>): Record<MigrationVerb, Verb> => ({
    run: {
      keyed: false,
      state: async (key) => (await target().get(key))?.value,
      prepare: async (key) => (await copied().add(key, { n: 1, mark: markOf(key) })).etag,
      call: () => new StateMigration(copied(), { to: target() }).run(),
    },
  });
  const copies = () => storage().store(Copies);
  return {
    ...named(rewriting, 'of a migration'),
    ...named(copying(copies), 'of a migration into another store'),
    ...named(
      copying(() => copies().forTenant('other')),
      'of a migration into another tenant',
    ),
  };
}

// ─── all

interface Subjects {
  readonly storage: () => KeyValueStorage;
  readonly events: () => EventStore;
  /** The number of rows of a key that are stored, expired ones included. */
  readonly stored: (key: string) => Promise<number>;
}

/** The storage and the event store may be opened later: tests are named before. */
export function everyWriteVerb({ storage, events, stored }: Subjects): Verbs {
  const notes = () => events().stream(Notes);
  return {
    ...verbsOfStore(
      () => storage().store(Things),
      () => storage().store(Cleared),
      false,
    ),
    ...named(
      verbsOfStore(
        () => storage().store(IndexedThings),
        () => storage().store(IndexedCleared),
        true,
      ),
      'of a store with indexes',
    ),
    ...named(
      verbsOfCounter(() => storage().store(Counts), Number),
      'of a counter',
    ),
    ...named(
      verbsOfCounter(() => storage().store(BigCounts), BigInt),
      'of a big counter',
    ),
    ...named(
      verbsOfSharded(() => storage().store(ShardedCounts)),
      'of a sharded counter',
    ),
    ...named(verbsOfStream(notes), 'of a stream'),
    ...batches(storage, notes),
    ...named(verbsOfStorage(storage, stored), 'of the storage'),
    ...verbsOfMigrations(storage),
  };
}

/** Makes the indexes ready, so that no write of a test does anything for them alone. */
export async function prepareIndexes(storage: KeyValueStorage): Promise<void> {
  for (const state of [IndexedThings, IndexedCleared]) {
    const store = storage.store(state);
    await store.set('first', { n: 1, mark: 'first' });
    await until('its indexes are ready', async () => {
      const read = await collect(store.index('byN').list()).catch(() => undefined);
      return read !== undefined;
    });
  }
}
