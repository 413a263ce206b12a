/**
 * Every call of a store, for clauses on what all of them do alike: refuse a key, an option or an
 * aborted signal, and reject after `close`. The records are typed by the methods of
 * `KeyValueStore` and `CounterStore`: a new verb does not compile until it has a row here.
 */
import {
  defineShardedCounter,
  type CounterStore,
  type Entry,
  type Key,
  type KeyValueStore,
  type ShardedCounter,
} from '../../core.js';
import { collect, type StoreSubject, type Thing } from './store-subject.js';

type Store = KeyValueStore<Thing>;
/** `forTenant` and `within` return another store, and call no provider. */
type Verb = Exclude<keyof Store, 'forTenant' | 'within'>;
type RangeVerb = 'list' | 'export' | 'keys' | 'page' | 'count' | 'deleteMany' | 'clear' | 'watchRange';
type KeyVerb = Exclude<Verb, RangeVerb | 'save'>;

type Call = () => Promise<unknown>;
type NamedCalls = readonly (readonly [name: string, call: Call])[];

/** Each call that takes a key. */
export function everyKeyCall(subject: StoreSubject, key: Key, options: object = {}): NamedCalls {
  const things = subject.store();
  const value = { n: 1 };
  const entries = [
    { key: 'fine', value },
    { key, value },
  ];
  const calls: Record<KeyVerb, Call> = {
    get: () => things.get(key, options),
    getOrThrow: () => things.getOrThrow(key, options),
    has: () => things.has(key, options),
    stat: () => things.stat(key, options),
    add: () => things.add(key, value, options),
    getOrAdd: () => things.getOrAdd(key, () => value, options),
    set: () => things.set(key, value, options),
    replace: () => things.replace(key, value, options),
    update: () => things.update(key, () => value, { initial: () => value, ...options }),
    touch: () => things.touch(key, { ttlMs: 5, ...options }),
    delete: () => things.delete(key, options),
    take: () => things.take(key, options),
    getMany: () => things.getMany(['fine', key], options),
    setMany: () => things.setMany(entries, options),
    addMany: () => things.addMany(entries, options),
    loadFrom: () => things.loadFrom(entries, options),
    deleteKeys: () => things.deleteKeys(['fine', key], options),
    watch: async () => await firstOf(things.watch(key, options)),
    watchMany: async () => await firstOf(things.watchMany(['fine', key], options)),
  };
  return [...Object.entries(calls), ...everyCounterCall(subject, key, options)];
}

/** Each call of a store of counters that takes a key. */
function everyCounterCall(subject: StoreSubject, key: Key, options: object): NamedCalls {
  const counters = subject.counter();
  const calls: Record<Exclude<keyof CounterStore, 'forTenant' | 'within' | 'list'>, Call> = {
    get: () => counters.get(key, options),
    getMany: () => counters.getMany(['fine', key], options),
    increment: () => counters.increment(key, 1, options),
    decrement: () => counters.decrement(key, 1, options),
    raiseTo: () => counters.raiseTo(key, 1, options),
    lowerTo: () => counters.lowerTo(key, 1, options),
    reset: () => counters.reset(key, options),
  };
  return [
    ...Object.entries(calls).map(([name, call]) => [`${name} of a counter`, call] as const),
    ...everyShardedCall(subject, key, options),
  ];
}

function everyShardedCall({ storage }: StoreSubject, key: Key, options: object): NamedCalls {
  const sharded = storage.store(defineShardedCounter('views', { shards: 2 }));
  const calls: Record<Exclude<keyof ShardedCounter, 'forTenant' | 'within'>, Call> = {
    get: () => sharded.get(key, options),
    getMany: () => sharded.getMany(['fine', key], options),
    increment: () => sharded.increment(key, 1, options),
    decrement: () => sharded.decrement(key, 1, options),
    reset: () => sharded.reset(key, options),
  };
  return Object.entries(calls).map(([name, call]) => [`${name} of a sharded counter`, call]);
}

/** Each call of a store, with `entry` as what `save` is given, and the commit of a batch. */
export function everyCall(subject: StoreSubject, entry: Entry<Thing>, options: object = {}): NamedCalls {
  const things = subject.store();
  const others: Record<RangeVerb | 'save', Call> = {
    save: () => things.save(entry.with({ n: 1 }), options),
    list: () => collect(things.list({}, options)),
    export: () => collect(things.export({}, options)),
    keys: () => collect(things.keys({}, options)),
    page: () => things.page({}, options),
    count: () => things.count({}, options),
    deleteMany: () => things.deleteMany({ prefix: 'k' }, options),
    clear: () => things.clear(options),
    watchRange: async () => await firstOf(things.watchRange({}, options)),
  };
  return [
    ...everyKeyCall(subject, entry.key, options),
    ...everyKeyCall(subject, 'new', options),
    ...Object.entries(others),
    ['list of counters', () => collect(subject.counter().list({}, options))],
    ['commit', () => subject.storage.atomic().set(things, 'new', { n: 1 }).commit(options)],
  ];
}

/** The first item of a watch, which ends then. */
async function firstOf<T>(watch: AsyncIterable<T>): Promise<T | undefined> {
  for await (const item of watch) return item;
  return undefined;
}
