/** The shop as an application: for `main.ts`, and for tests. */
import type { LoggerService, LogLevel } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { EventStore } from '@kvent/event-store';
import { KeyValueStorage, ProblemDetailsFilter, StorageExceptionFilter } from '@kvent/key-value-storage';
import type { Request } from 'express';
import { addApiPage } from './api-page.js';
import { AppModule } from './app.module.js';
import { LastAnswers } from './http/close-on-shutdown.js';
import { oneAtATime } from './http/one-at-a-time.js';
import { reliableLine, type BankLine } from './orders/bank.js';
import { correlationId, correlationIdOf } from './problems/correlation-id.js';
import { ShopErrorFilter } from './problems/shop-error.filter.js';
import { seed } from './seed.js';
import type { ChosenStorage } from './storage.js';

/**
 * Opens the storage and fills the demo shops; the door (`listen`) is the caller's. Rejects with
 * what is wrong, and leaves nothing open.
 */
export async function openStorefront(
  storage: ChosenStorage,
  logger: LoggerService | LogLevel[] | false,
  line: BankLine = reliableLine(),
): Promise<NestExpressApplication> {
  const app = await NestFactory.create<NestExpressApplication>(AppModule.on(storage, line), {
    abortOnError: false,
    logger,
  });
  try {
    // Express would add an etag of the body to every answer; ours are the versions of what is
    // stored.
    app.set('etag', false).disable('x-powered-by');
    const lastAnswers = app.get(LastAnswers);
    app.use(oneAtATime, correlationId, lastAnswers.use.bind(lastAnswers));
    const extend = (_problem: object, request: Request) => ({ correlationId: correlationIdOf(request) });
    // The last one that fits is asked first, so what catches everything goes first.
    app.useGlobalFilters(
      new ProblemDetailsFilter({ extend }),
      new StorageExceptionFilter({ extend }),
      new ShopErrorFilter(),
    );
    addApiPage(app);
    await app.init();
    await seed(app.get(KeyValueStorage), app.get(EventStore));
    return app;
  } catch (error) {
    await app.close();
    throw error;
  }
}
