/**
 * Every write verb behind a network that loses its request or its answer. Without an idempotency
 * key the outcome is reported as unknown and nothing is repeated; with a key, the caller repeats
 * the call, and it is done once.
 */
import 'reflect-metadata';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Module, Param, Post, UseInterceptors, type INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventStore } from '@kvent/event-store/core';
import {
  CounterStore,
  IdempotencyInterceptor,
  IdempotencyKey,
  IdempotentCall,
  InjectStore,
  isStorageError,
  KeyValueStorage,
  KeyValueStorageModule,
  RetryOnConflictInterceptor,
  StorageExceptionFilter,
} from '@kvent/key-value-storage';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { listen } from '../e2e/listen.js';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { Proxy } from '../postgres/proxy.js';
import { until } from '../postgres/until.js';
import {
  Counts,
  everyWriteVerb,
  markOf,
  prepareIndexes,
  type Call,
  type IdempotencyOptions,
  type Verb,
} from './write-verbs.js';

type Loss = 'answer' | 'request';

let database: FreshDatabase;
let proxy: Proxy;
let app: INestApplication;
let url: string;
let storage: KeyValueStorage;
let counts: CounterStore;
let events: EventStore;

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
  counts = storage.store(Counts);
  events = new EventStore(storage);
  await prepareIndexes(storage);
});
afterAll(async () => {
  await events.close();
  await app.close();
  await proxy[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const verbs = everyWriteVerb({
  storage: () => storage,
  events: () => events,
  stored: (key) =>
    asAdmin(database.url, async (admin) => {
      const { rowCount } = await admin.query('select from kvent.row where key = $1', [key]);
      return rowCount ?? 0;
    }),
});

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
  const callOf = async (name: string, verb: Verb, options: IdempotencyOptions): Promise<Call> => {
    const key = `${name.replaceAll(' ', '-')}-${loss}-${options.idempotencyKey === undefined ? 'plain' : 'keyed'}`;
    return { key, mark: markOf(key), options, etag: (await verb.prepare?.(key)) ?? '' };
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
        idempotencyKey: { key: `k-${name}-${loss}`, content: 'the request' },
      });
      const { after, result } = await repeatedOnce(verb, call);
      expect(resultOf(await verb.call(call))).toEqual(result);
      expect(await verb.state(call.key)).toEqual(after);
    },
  );

  it.each(Object.entries(verbs).filter(([, { keyed }]) => keyed === false))(
    '%s, which takes no key, has its effect once when it is repeated',
    async (name, verb) => {
      const call = await callOf(`${name} again`, verb, {});
      const { after } = await repeatedOnce(verb, call);
      const error: unknown = await verb.call(call).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(isStorageError(error) ? error.code : error).toBe(verb.refusal);
      expect(await verb.state(call.key)).toEqual(after);
    },
  );

  /** Loses the call, and repeats it: its effect is there once. */
  async function repeatedOnce(verb: Verb, call: Call): Promise<{ after: unknown; result: unknown }> {
    const before = await verb.state(call.key);
    await losing(loss, verb.marker?.(call) ?? call.mark, () => verb.call(call));
    const lost = await verb.state(call.key);
    const result = resultOf(
      await verb.call(call).catch((error: unknown) => {
        if (!isDone || !isStorageError(error) || error.code !== verb.refusal) throw error;
      }),
    );
    const after = await verb.state(call.key);
    expect(after).not.toEqual(before);
    if (isDone) expect(after).toEqual(lost);
    else expect(lost).toEqual(before);
    return { after, result };
  }
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
