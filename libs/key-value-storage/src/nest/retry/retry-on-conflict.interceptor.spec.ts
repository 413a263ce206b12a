import 'reflect-metadata';
import {
  Controller,
  Get,
  Injectable,
  Post,
  SetMetadata,
  Sse,
  UseInterceptors,
  type INestApplication,
} from '@nestjs/common';
import { APP_FILTER, Reflector } from '@nestjs/core';
import { Test } from '@nestjs/testing';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { concat, of, throwError } from 'rxjs';
import request from 'supertest';
import type { App } from 'supertest/types.js';
import { storageError } from '../../core/base/errors.js';
import { KeyValueStore } from '../../core/store/key-value-store.js';
import { State } from '../../core/store/state-definition.js';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { httpAdapters, startOn } from '../http/spec-support.js';
import { StorageExceptionFilter } from '../http/storage-exception.filter.js';
import { InjectStore } from '../inject-store.decorator.js';
import { KeyValueStorageModule } from '../key-value-storage.module.js';
import { RetryOnConflict } from './retry-on-conflict.decorator.js';
import { RetryOnConflictInterceptor } from './retry-on-conflict.interceptor.js';

@State('tally')
class Tally {
  count!: number;
}
const conflict = (check: 'own' | 'caller' = 'own') =>
  storageError(
    'STORAGE_CONFLICT',
    'Lost',
    { key: 'k', expected: '1', actual: '2', check },
    { retryable: check === 'own' },
  );

let runs: Record<string, number>;
/** Holds the first 20 back until all of them have read, so that 19 must lose. */
let open: () => void = () => undefined;
let gate = { readers: 0, opened: Promise.resolve() };
const everyoneHasRead = async (): Promise<void> => {
  if (++gate.readers === 20) open();
  await gate.opened;
};
const run = (name: string): number => (runs[name] = (runs[name] ?? 0) + 1);

@Injectable()
class Service {
  @RetryOnConflict({ attempts: 3, delayMs: 0 })
  async inner(): Promise<never> {
    run('inner');
    throw conflict();
  }
  @RetryOnConflict({ attempts: 4, delayMs: 0 })
  async outer(): Promise<never> {
    run('outer');
    return await this.inner();
  }
  @RetryOnConflict({ delayMs: 0 })
  async second(by: number): Promise<number> {
    if (run('second') === 1) throw conflict();
    return by;
  }
  @RetryOnConflict({ delayMs: 0 })
  async checked(): Promise<never> {
    run('checked');
    throw conflict('caller');
  }
}

@Controller()
class Tallies {
  constructor(
    @InjectStore(Tally) private readonly tallies: KeyValueStore<Tally>,
    private readonly service: Service,
  ) {}
  @Post('raise')
  @UseInterceptors(
    RetryOnConflictInterceptor.with({
      attempts: 100,
      delayMs: 1,
      delayMsMax: 20,
      attemptsHeader: 'X-Attempts',
    }),
  )
  async raise() {
    const entry = await this.tallies.getOrThrow('t');
    await everyoneHasRead();
    return (await this.tallies.save(entry.with({ count: entry.value.count + 1 }))).value;
  }
  @Get('nested') @UseInterceptors(RetryOnConflictInterceptor.with({ attempts: 5, delayMs: 0 })) nested() {
    run('handler');
    return this.service.outer();
  }
  @Get('defaults') @UseInterceptors(RetryOnConflictInterceptor) defaults() {
    run('defaults');
    throw conflict();
  }
  @Get('other') @UseInterceptors(RetryOnConflictInterceptor) other() {
    run('other');
    throw storageError('KEY_EXISTS', 'There', { key: 'k' });
  }
  @Sse('events') @UseInterceptors(RetryOnConflictInterceptor.with({ delayMs: 0 })) events() {
    run('events');
    return concat(of({ data: 'first' }), throwError(conflict));
  }
}

describe.each(httpAdapters)('on %s', (adapter) => {
  let app: INestApplication<App>;
  beforeEach(async () => {
    runs = {};
    gate = { readers: 0, opened: new Promise<void>((resolve) => (open = resolve)) };
    const module = await Test.createTestingModule({
      imports: [
        KeyValueStorageModule.forRoot({
          provider: () => new MemoryProvider(),
          retry: { attempts: 3, delayMs: 0 },
        }),
        KeyValueStorageModule.forFeature([Tally]),
      ],
      controllers: [Tallies],
      providers: [Service, { provide: APP_FILTER, useClass: StorageExceptionFilter }],
    }).compile();
    app = await startOn(adapter, module);
    await app.listen(0, '127.0.0.1');
  });
  afterEach(() => app.close());
  const http = () => request(app.getHttpServer());

  describe('RetryOnConflictInterceptor', () => {
    it('lets 20 parallel requests that read, change and save all land', async () => {
      const tallies = app.get(Tallies)['tallies'];
      await tallies.add('t', { count: 0 });
      const answers = await Promise.all(Array.from({ length: 20 }, () => http().post('/raise')));
      expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 201));
      expect((await tallies.getOrThrow('t')).value.count).toBe(20);
      const attempts = answers.map(({ headers }) => Number(headers['x-attempts']));
      expect(Math.min(...attempts)).toBe(1);
      expect(attempts.filter((attempt) => attempt > 1)).toHaveLength(19);
    });

    it('retries as the root says by default, and the 409 that remains carries Retry-After', async () => {
      const { headers } = await http().get('/defaults').expect(409);
      expect(headers['retry-after']).toBe('1');
      expect(runs).toEqual({ defaults: 3 });
    });

    it('repeats nothing but conflicts', async () => {
      await http().get('/other').expect(409);
      expect(runs).toEqual({ other: 1 });
    });

    it('repeats nothing once a first event is out', async () => {
      const { text } = await http().get('/events');
      expect(text).toMatch(/data: first/);
      expect(runs).toEqual({ events: 1 });
    });

    it('refuses options that are not allowed where they are written', () => {
      expect(() => RetryOnConflictInterceptor.with({ attempts: 0 })).toThrow(/attempts/);
      expect(() => RetryOnConflictInterceptor.with({ attemts: 2 } as object)).toThrow(/no option 'attemts'/);
    });
  });

  describe('Nested retry loops', () => {
    it('retry in the innermost alone', async () => {
      await http().get('/nested').expect(409);
      expect(runs).toEqual({ handler: 1, outer: 1, inner: 3 });
    });
  });

  describe('@RetryOnConflict', () => {
    it('runs the method again with its arguments and its this', async () => {
      await expect(app.get(Service).second(7)).resolves.toBe(7);
      expect(runs).toEqual({ second: 2 });
    });

    it('never repeats what failed at the caller’s own check', async () => {
      await expect(app.get(Service).checked()).rejects.toMatchObject({ code: 'STORAGE_CONFLICT' });
      expect(runs).toEqual({ checked: 1 });
    });

    it('keeps name, length and metadata of the method, whatever the order of the decorators', () => {
      class Mixed {
        @RetryOnConflict() @SetMetadata('role', 'admin') async below(_given: string): Promise<void> {}
        @SetMetadata('role', 'admin') @RetryOnConflict() async above(): Promise<void> {}
      }
      const { below, above } = Mixed.prototype;
      expect([below.name, below.length]).toEqual(['below', 1]);
      expect([below, above].map((method) => new Reflector().get<string>('role', method))).toEqual([
        'admin',
        'admin',
      ]);
    });

    it('refuses options that are not allowed where they are written', () => {
      expect(() => RetryOnConflict({ attempts: -1 })).toThrow(/attempts/);
    });
  });
});
