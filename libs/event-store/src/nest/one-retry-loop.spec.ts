/**
 * One retry loop for stores and streams: what repeats a conflict of one repeats a conflict of the
 * other.
 */
import 'reflect-metadata';
import { Controller, Injectable, Param, Post, UseInterceptors, type INestApplication } from '@nestjs/common';
import { APP_FILTER, type AbstractHttpAdapter } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { Test } from '@nestjs/testing';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  defineState,
  KeyValueStorage,
  KeyValueStorageModule,
  MemoryProvider,
  StorageExceptionFilter,
} from '@kvent/key-value-storage';
import {
  defineStream,
  event,
  EventStoreModule,
  EventStream,
  InjectStream,
  RetryOnConflict,
  RetryOnConflictInterceptor,
} from '@kvent/event-store';
import request from 'supertest';
import { httpAdapters, listen } from './spec-support.js';

const Tills = defineStream('till', {
  events: { paid: event<{ cents: number }>() },
  initial: () => 0,
  evolve: (cents, { data }) => cents + data.cents,
});
const Totals = defineState<{ cents: number }>('total');
const paid = { type: 'paid', data: { cents: 1 } } as const;

let runs: Record<string, number>;
const run = (name: string): number => (runs[name] = (runs[name] ?? 0) + 1);
/** Holds the first twenty back until all of them have read, so that nineteen must lose. */
let everyoneHasRead: () => Promise<void>;

@Injectable()
class Cashier {
  constructor(
    @InjectStream(Tills) readonly tills: EventStream<typeof Tills>,
    readonly storage: KeyValueStorage,
  ) {}
  /** Reads, and commits what it read: a conflict is that of the stream, or that of the state. */
  @RetryOnConflict({ attempts: 100, delayMs: 1, delayMsMax: 20 })
  async pay(id: string): Promise<void> {
    run('pay');
    const totals = this.storage.store(Totals);
    const [till, total] = await Promise.all([this.tills.load(id), totals.getOrThrow(id)]);
    await everyoneHasRead();
    await this.storage
      .atomic()
      .include(this.tills.appending(till, [paid]))
      .save(totals, total.with({ cents: total.value.cents + 1 }))
      .commit();
  }
  @RetryOnConflict({ attempts: 4, delayMs: 0 })
  async outer(id: string): Promise<void> {
    run('outer');
    const decide = async () => {
      run('decide');
      await this.tills.append(id, [paid], { expectedVersion: 'any' });
      return [paid];
    };
    await this.tills.transact(id, decide, { retry: { attempts: 3, delayMs: 0 } });
  }
  @RetryOnConflict({ delayMs: 0 })
  async checked(id: string): Promise<void> {
    run('checked');
    await this.tills.append(id, [paid], { expectedVersion: 7 });
  }
}
@Controller('tills')
class TillController {
  constructor(private readonly cashier: Cashier) {}
  @Post(':id')
  @UseInterceptors(
    RetryOnConflictInterceptor.with({
      attempts: 100,
      delayMs: 1,
      delayMsMax: 20,
      attemptsHeader: 'X-Attempts',
    }),
  )
  async pay(@Param('id') id: string) {
    const { tills, storage } = this.cashier;
    const till = await tills.load(id);
    await everyoneHasRead();
    await storage
      .atomic()
      .include(tills.appending(till, [paid]))
      .commit();
    return { version: till.version + 1 };
  }
  @Post(':id/never')
  @UseInterceptors(RetryOnConflictInterceptor.with({ attempts: 2, delayMs: 0 }))
  async never(@Param('id') id: string) {
    run('never');
    const till = await this.cashier.tills.load(id);
    await this.cashier.tills.append(id, [paid], { expectedVersion: 'any' });
    await this.cashier.storage
      .atomic()
      .include(this.cashier.tills.appending(till, [paid]))
      .commit();
  }
}

let app: INestApplication;
let url: string;
let cashier: Cashier;
async function start(adapter: AbstractHttpAdapter): Promise<void> {
  runs = {};
  let readers = 0;
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  everyoneHasRead = async () => {
    if (++readers === 20) open();
    await opened;
  };
  const module = await Test.createTestingModule({
    imports: [
      KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider() }),
      KeyValueStorageModule.forFeature([Totals]),
      EventStoreModule.forRoot({ observer: { observe: () => undefined } }),
      EventStoreModule.forFeature([Tills]),
    ],
    controllers: [TillController],
    providers: [Cashier, { provide: APP_FILTER, useClass: StorageExceptionFilter }],
  }).compile();
  app = module.createNestApplication(adapter, { logger: false });
  url = await listen(app);
  cashier = app.get(Cashier);
}
afterEach(() => app.close());

describe('@RetryOnConflict', () => {
  beforeEach(() => start(new ExpressAdapter()));

  it('lets twenty callers land that read a stream and a state, and commit both: no event is lost or doubled', async () => {
    await cashier.storage.store(Totals).add('a', { cents: 0 });
    await Promise.all(Array.from({ length: 20 }, () => cashier.pay('a')));
    const [till, total] = [
      await cashier.tills.load('a'),
      await cashier.storage.store(Totals).getOrThrow('a'),
    ];
    expect([till.version, till.state, total.value.cents]).toEqual([20, 20, 20]);
    expect(runs['pay']).toBeGreaterThanOrEqual(39);
  });

  it('lets the error of an inner transact pass: attempts do not multiply', async () => {
    await expect(cashier.outer('a')).rejects.toMatchObject({ code: 'STREAM_VERSION_MISMATCH', attempts: 3 });
    expect(runs).toEqual({ outer: 1, decide: 3 });
  });

  it('repeats no check that the caller gave', async () => {
    await expect(cashier.checked('a')).rejects.toMatchObject({
      code: 'STREAM_VERSION_MISMATCH',
      retryable: false,
    });
    expect(runs).toEqual({ checked: 1 });
  });
});

describe.each(httpAdapters)('RetryOnConflictInterceptor on %s', (_name, adapter) => {
  beforeEach(() => start(adapter()));

  it('lets twenty parallel requests land that load, and append to what they loaded', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => request(url).post('/tills/a')));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 201));
    const versions = answers
      .map(({ body }) => (body as { version: number }).version)
      .sort((one, other) => one - other);
    expect(versions).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
    expect(answers.filter(({ headers }) => Number(headers['x-attempts']) > 1)).toHaveLength(19);
  });

  it('sends the conflict that remains as a 409 with Retry-After', async () => {
    const answer = await request(url).post('/tills/a/never').expect(409);
    expect(answer.body).toMatchObject({ code: 'STREAM_VERSION_MISMATCH', stream: 'till/a' });
    expect(answer.headers['retry-after']).toBe('1');
    expect(runs).toEqual({ never: 2 });
  });
});
