/** Applications of tests on both HTTP adapters of Nest. */
import type { INestApplication, Type } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test, type TestingModule } from '@nestjs/testing';
import type { App } from 'supertest/types.js';
import type { AnyState } from '../../core/store/state-definition.js';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { KeyValueStorageModule } from '../key-value-storage.module.js';
import { sendFrameworkProblem } from './send-problem.js';
import { StorageExceptionFilter } from './storage-exception.filter.js';

export const httpAdapters = ['express', 'fastify'] as const;
export type HttpAdapter = (typeof httpAdapters)[number];

/** A response of supertest, without its `any`. */
export interface Received {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

/** An application with one state in memory, controllers, and problem details for its errors. */
export async function startWith(
  adapter: HttpAdapter,
  state: AnyState,
  ...controllers: readonly Type<unknown>[]
): Promise<INestApplication<App>> {
  const module = await Test.createTestingModule({
    imports: [
      KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider() }),
      KeyValueStorageModule.forFeature([state]),
    ],
    controllers: [...controllers],
  }).compile();
  return await startOn(adapter, module, (app) => app.useGlobalFilters(new StorageExceptionFilter()));
}

/** An application that is initialised; `configure` runs before. */
export async function startOn(
  adapter: HttpAdapter,
  module: TestingModule,
  configure: (app: INestApplication<App>) => void = () => undefined,
): Promise<INestApplication<App>> {
  const app = module.createNestApplication<INestApplication<App>>(
    adapter === 'express'
      ? new ExpressAdapter()
      : new FastifyAdapter({ frameworkErrors: sendFrameworkProblem }),
    { logger: false },
  );
  // Express would add an ETag of the body, and compare it by itself
  if (adapter === 'express') (app.getHttpAdapter().getInstance() as ExpressInstance).set('etag', false);
  configure(app);
  await app.init();
  if (adapter === 'fastify') await (app.getHttpAdapter().getInstance() as FastifyInstance).ready();
  return app;
}

interface ExpressInstance {
  set(name: string, value: unknown): void;
}
interface FastifyInstance {
  ready(): PromiseLike<unknown>;
}
