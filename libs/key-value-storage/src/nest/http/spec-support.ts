/** Applications of tests on both HTTP adapters of Nest. */
import type { INestApplication } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { TestingModule } from '@nestjs/testing';
import type { App } from 'supertest/types.js';
import { sendFrameworkProblem } from './send-problem.js';

export const httpAdapters = ['express', 'fastify'] as const;
export type HttpAdapter = (typeof httpAdapters)[number];

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
