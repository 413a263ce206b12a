/**
 * Every write verb behind a network that loses its request or its answer. Without an idempotency
 * key the outcome is reported as unknown and nothing is repeated; with a key, the caller repeats
 * the call, and it is done once.
 */
import 'reflect-metadata';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Module, Param, Post, UseInterceptors, type INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { defineStream, event, EventStore, type EventStream } from '@kvent/event-store/core';
import {
  CounterStore,
  defineCounter,
  defineState,
  IdempotencyInterceptor,
  IdempotencyKey,
  IdempotentCall,
  InjectStore,
  isStorageError,
  KeyValueStorage,
  KeyValueStorageModule,
  RetryOnConflictInterceptor,
  StorageExceptionFilter,
  type KeyValueStore,
} from '@kvent/key-value-storage';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { listen } from '../e2e/listen.js';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { Proxy } from '../postgres/proxy.js';
import { until } from '../postgres/until.js';

interface Thing {
  readonly n: number;
  readonly mark: string;
}
const Things = defineState<Thing>('thing');
const Counts = defineCounter('count');
const Notes = defineStream('note', {
  events: { noted: event<{ mark: string }>() },
  initial: () => 0,
  evolve: (count: number) => count + 1,
});

type Loss = 'answer' | 'request';
interface Options {
  readonly idempotencyKey?: string | { readonly key: string; readonly content: unknown };
}
/** What a verb is called with: `mark` is a text in its value or event. */
interface Call {
  readonly key: string;
  readonly mark: string;
  readonly options: Options;
  /** What `prepare` has returned. */
  readonly etag: string;
}
interface Verb {
  readonly call: (call: Call) => Promise<unknown>;
  /** The effect: it differs after each commit. */
  readonly state: (key: string) => Promise<unknown>;
  readonly prepare?: (key: string) => Promise<string>;
  /** A text that only the request of the commit has. @default the mark */
  readonly marker?: (call: Call) => string;
  /** Whether it takes a key. @default true */
  readonly keyed?: boolean;
}

let database: FreshDatabase;
let proxy: Proxy;
let app: INestApplication;
let url: string;
let storage: KeyValueStorage;
let things: KeyValueStore<Thing>;
let counts: CounterStore;
let events: EventStore;
let notes: EventStream<typeof Notes>;

@Controller('counts')
class CountsController {
  constructor(@InjectStore(Counts) private readonly views: CounterStore) {}
  /** The work has the key of the request too, so that a repeat after a 504 does it once. */
  @Post(':key')
  @UseInterceptors(IdempotencyInterceptor)
  async count(@Param('key') key: string, @IdempotencyKey() idempotencyKey: IdempotentCall) {
    return { count: await this.views.increment(key, 1, { idempotencyKey }) };
  }
  @Post(':key/plain')
  @UseInterceptors(RetryOnConflictInterceptor)
  async plain(@Param('key') key: string) {
    return { count: await this.views.increment(key) };
  }
}

@Module({
  imports: [
    KeyValueStorageModule.forRootAsync({
      useFactory: () => ({
        provider: () => new PostgresProvider({ url: proxy.url(database.url) }),
        sweepEveryMs: 'never' as const,
      }),
    }),
    KeyValueStorageModule.forFeature([Counts]),
  ],
  controllers: [CountsController],
})
class CountsModule {}

beforeAll(async () => {
  database = await freshDatabase();
  proxy = await Proxy.before({ port: Number(new URL(database.url).port) });
  app = await NestFactory.create(CountsModule, { logger: false });
  app.useGlobalFilters(new StorageExceptionFilter());
  url = `http://127.0.0.1:${await listen(app)}`;
  storage = app.get(KeyValueStorage);
  things = storage.store(Things);
  counts = storage.store(Counts);
  events = new EventStore(storage);
  notes = events.stream(Notes);
});
afterAll(async () => {
  await events.close();
  await app.close();
  await proxy[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const entryOf = async (key: string): Promise<unknown> => {
  const entry = await things.get(key);
  return entry && { etag: entry.etag, value: entry.value, expiresAt: entry.expiresAt };
};
const eventsOf = async (key: string): Promise<unknown> => await notes.version(key);
const addThing = async (key: string): Promise<string> =>
  (await things.add(key, { n: 1, mark: '' }, { ttlMs: 3_600_000 })).etag;
const addCount = async (key: string): Promise<string> => String(await counts.increment(key, 5));

const ofThing = { state: entryOf, prepare: addThing };
/** Only the commit has the version that was read; with a key, only it has a digest. */
const byEtag = ({ etag, options }: Call): string => (options.idempotencyKey === undefined ? etag : 'sha256-');
const byKey = ({ key, options }: Call): string => (options.idempotencyKey === undefined ? key : 'sha256-');
const ofCount = { state: (key: string) => counts.get(key), prepare: addCount, marker: byKey };

const verbs: Readonly<Record<string, Verb>> = {
  add: { state: entryOf, call: ({ key, mark, options }) => things.add(key, { n: 1, mark }, options) },
  getOrAdd: {
    state: entryOf,
    call: ({ key, mark, options }) => things.getOrAdd(key, () => ({ n: 1, mark }), options),
  },
  set: { ...ofThing, call: ({ key, mark, options }) => things.set(key, { n: 1, mark }, options) },
  replace: { ...ofThing, call: ({ key, mark, options }) => things.replace(key, { n: 1, mark }, options) },
  save: {
    ...ofThing,
    call: async ({ key, mark, options }) =>
      await things.save((await things.getOrThrow(key)).with({ mark }), options),
  },
  update: {
    ...ofThing,
    call: ({ key, mark, options }) => things.update(key, ({ n }) => ({ n: n + 1, mark }), options),
  },
  touch: {
    ...ofThing,
    marker: byEtag,
    call: ({ key, options }) => things.touch(key, { ttlMs: 7_200_000, ...options }),
  },
  delete: { ...ofThing, marker: byKey, call: ({ key, options }) => things.delete(key, options) },
  take: { ...ofThing, marker: byEtag, call: ({ key, options }) => things.take(key, options) },
  setMany: {
    ...ofThing,
    keyed: false,
    call: ({ key, mark }) => things.setMany([{ key, value: { n: 1, mark } }]),
  },
  'increment of a counter': { ...ofCount, call: ({ key, options }) => counts.increment(key, 2, options) },
  'decrement of a counter': { ...ofCount, call: ({ key, options }) => counts.decrement(key, 2, options) },
  'raiseTo of a counter': { ...ofCount, call: ({ key, options }) => counts.raiseTo(key, 9, options) },
  'lowerTo of a counter': { ...ofCount, call: ({ key, options }) => counts.lowerTo(key, 2, options) },
  'reset of a counter': { ...ofCount, call: ({ key, options }) => counts.reset(key, options) },
  'a batch': {
    state: async (key) => [await entryOf(key), await counts.get(key), await eventsOf(key)],
    call: ({ key, mark, options }) =>
      storage
        .atomic()
        .set(things, key, { n: 1, mark })
        .increment(counts, key)
        .include(notes.appending(key, [{ type: 'noted', data: { mark } }], { expectedVersion: 'any' }))
        .commit(options),
  },
  append: {
    state: eventsOf,
    call: ({ key, mark, options }) =>
      notes.append(key, [{ type: 'noted', data: { mark } }], { expectedVersion: 'any', ...options }),
  },
  transact: {
    state: eventsOf,
    call: ({ key, mark, options }) => notes.transact(key, () => [{ type: 'noted', data: { mark } }], options),
  },
  'append of a session': {
    state: eventsOf,
    call: async ({ key, mark, options }) =>
      await notes.session(key, async (session) => {
        await session.append([{ type: 'noted', data: { mark } }], options);
        return session.version;
      }),
  },
};

const lose = (loss: Loss, text: string): Promise<void> =>
  loss === 'answer' ? proxy.loseAnswer(text) : proxy.loseRequest(text);
async function losing(loss: Loss, text: string, work: () => Promise<unknown>): Promise<void> {
  const gone = lose(loss, text);
  const error: unknown = await work().catch((thrown: unknown) => thrown);
  expect(isStorageError(error, 'STORAGE_OUTCOME_UNKNOWN') && error.effect).toBe('unknown');
  await gone;
}
/** Without `replayed`, which says that a repeat is one. */
const resultOf = (result: unknown): unknown =>
  typeof result === 'object' && result !== null && 'replayed' in result
    ? { ...result, replayed: undefined }
    : result;

describe.each(['answer', 'request'] as const)('when the %s of a write is lost,', (loss) => {
  const isDone = loss === 'answer';
  const callOf = async (name: string, verb: Verb, options: Options): Promise<Call> => {
    const key = `${name.replaceAll(' ', '-')}-${loss}-${options.idempotencyKey === undefined ? 'plain' : 'keyed'}`;
    return { key, mark: `mark of ${key}`, options, etag: (await verb.prepare?.(key)) ?? '' };
  };

  it.each(Object.entries(verbs))('%s reports an unknown outcome, and is not repeated', async (name, verb) => {
    const call = await callOf(name, verb, {});
    const before = await verb.state(call.key);
    await losing(loss, verb.marker?.(call) ?? call.mark, () => verb.call(call));
    const after = await verb.state(call.key);
    if (isDone) expect(after).not.toEqual(before);
    else expect(after).toEqual(before);
  });

  it.each(Object.entries(verbs).filter(([, { keyed }]) => keyed !== false))(
    '%s is done once by its repeats with a key',
    async (name, verb) => {
      const call = await callOf(name, verb, {
        // the keys of batches belong to the tenant
        idempotencyKey: { key: `k-${loss}`, content: 'the request' },
      });
      const before = await verb.state(call.key);
      await losing(loss, verb.marker?.(call) ?? call.mark, () => verb.call(call));
      const lost = await verb.state(call.key);
      const result = resultOf(await verb.call(call));
      const after = await verb.state(call.key);
      expect(after).not.toEqual(before);
      if (isDone) expect(after).toEqual(lost);
      else expect(lost).toEqual(before);
      expect(resultOf(await verb.call(call))).toEqual(result);
      expect(await verb.state(call.key)).toEqual(after);
    },
  );
});

describe.each(['answer', 'request'] as const)('when the %s of a commit of a route is lost,', (loss) => {
  const post = async (path: string, idempotencyKey = path) => {
    const headers = { 'Idempotency-Key': idempotencyKey };
    const response = await fetch(`${url}/counts/${path}`, { method: 'POST', headers });
    return { status: response.status, body: (await response.json()) as { count?: number; code?: string } };
  };

  it('an interceptor repeats nothing, and the response says that the outcome is unknown', async () => {
    const key = `plain-${loss}`;
    const gone = lose(loss, key);
    expect(await post(`${key}/plain`)).toMatchObject({
      status: 504,
      body: { code: 'STORAGE_OUTCOME_UNKNOWN' },
    });
    await gone;
    expect(await counts.get(key)).toBe(loss === 'answer' ? 1 : 0);
  });

  it('its response is not kept, and the repeat does the work once', async () => {
    const key = `route-${loss.length}`;
    // a word of records only
    const gone = lose(loss, 'answer');
    expect((await post(key)).status).toBe(504);
    await gone;
    expect([await post(key), await post(key)]).toEqual([
      { status: 201, body: { count: 1 } },
      { status: 201, body: { count: 1 } },
    ]);
    expect(await counts.get(key)).toBe(1);
  });

  it('a response that may not be kept is sent, and kept later; no repeat does the work again', async () => {
    const key = `kept-${loss}`;
    const gone = lose(loss, 'Content-Type');
    expect(await post(key)).toEqual({ status: 201, body: { count: 1 } });
    await gone;
    await until('the response is kept', async () => {
      const repeat = await post(key);
      if (repeat.status !== 201)
        expect(repeat).toMatchObject({ status: 409, body: { code: 'IDEMPOTENCY_IN_PROGRESS' } });
      else expect(repeat.body).toEqual({ count: 1 });
      return repeat.status === 201;
    });
    expect(await counts.get(key)).toBe(1);
  });
});
