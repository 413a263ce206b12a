import 'reflect-metadata';
import { Controller, Get, type INestApplication } from '@nestjs/common';
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus';
import { Test } from '@nestjs/testing';
import { afterEach, describe, expect, it } from '@jest/globals';
import request from 'supertest';
import type { App } from 'supertest/types.js';
import { storageError } from '../../core/base/errors.js';
import type { ReadResult } from '../../core/port/storage-provider.js';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { KeyValueStorageModule } from '../key-value-storage.module.js';
import { StorageHealthIndicator } from './storage-health.indicator.js';

class Failing extends MemoryProvider {
  constructor(readonly answer: () => Promise<ReadResult>) {
    super();
  }
  override read(): Promise<ReadResult> {
    return this.answer();
  }
}

@Controller()
class Health {
  constructor(
    private readonly health: HealthCheckService,
    private readonly storage: StorageHealthIndicator,
  ) {}
  @Get('health') @HealthCheck() check() {
    return this.health.check([() => this.storage.isHealthy('storage', { timeoutMs: 20 })]);
  }
}

let app: INestApplication<App>;
afterEach(() => app.close());
async function check(status: number, cache?: MemoryProvider): Promise<unknown> {
  const module = await Test.createTestingModule({
    imports: [
      TerminusModule.forRoot({ logger: false }),
      KeyValueStorageModule.forRoot({
        provider: () => new MemoryProvider(),
        ...(cache && { providers: { cache } }),
      }),
    ],
    controllers: [Health],
  }).compile();
  app = module.createNestApplication<INestApplication<App>>();
  await app.init();
  return (await request(app.getHttpServer()).get('/health').expect(status)).body as unknown;
}

describe('The health of the storage', () => {
  it('is up, with the features of the provider, and without its name, which may hold an address', async () => {
    const body = await check(200);
    expect(body).toMatchObject({
      status: 'ok',
      info: { storage: { status: 'up', features: { durable: false, shared: false } } },
    });
    expect(JSON.stringify(body)).not.toContain('"name"');
  });

  it('refuses a timeout that no timer can have', async () => {
    await check(200);
    const indicator = app.get(StorageHealthIndicator, { strict: false });
    for (const timeoutMs of [0, 1.5, Number.NaN, 2 ** 31])
      await expect(indicator.isHealthy('storage', { timeoutMs })).rejects.toMatchObject({
        code: 'INVALID_OPTION',
      });
  });

  it('is down with a code, and no message, when one of the providers fails', async () => {
    const body = await check(
      503,
      new Failing(() =>
        Promise.reject(storageError('STORAGE_UNAVAILABLE', 'postgres://user:hunter2@db', {})),
      ),
    );
    expect(body).toMatchObject({
      status: 'error',
      error: {
        storage: {
          status: 'down',
          providers: { cache: { status: 'down', code: 'STORAGE_UNAVAILABLE' } },
        },
      },
    });
    expect(JSON.stringify(body)).not.toMatch(/hunter2/);
  });

  it('is down when a provider gives no answer in time', async () => {
    const body = await check(503, new Failing(() => new Promise(() => undefined)));
    expect(body).toMatchObject({
      error: { storage: { providers: { cache: { code: 'STORAGE_UNAVAILABLE' } } } },
    });
  });
});
