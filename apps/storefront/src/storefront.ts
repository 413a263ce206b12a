/** The shop as an application: for `main.ts`, and for tests. */
import type { LoggerService, LogLevel } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { EventStore } from '@kvent/event-store';
import { KeyValueStorage, ProblemDetailsFilter, StorageExceptionFilter } from '@kvent/key-value-storage';
import type { Request } from 'express';
import { addApiPage } from './api-page.js';
import { AppModule } from './app.module.js';
import { CloseOnShutdown } from './http/close-on-shutdown.js';
import { oneAtATime } from './http/one-at-a-time.js';
import { reliableTransport, type BankTransport } from './orders/bank.js';
import { correlationId, correlationIdOf } from './problems/correlation-id.js';
import { ShopErrorFilter } from './problems/shop-error.filter.js';
import { seed } from './seed.js';
import type { ChosenStorage } from './storage.js';

/**
 * Opens the storage and fills the demo shops; the caller calls `listen`. A failure leaves nothing
 * open.
 */
export async function openStorefront(
  storage: ChosenStorage,
  logger: LoggerService | LogLevel[] | false,
  transport: BankTransport = reliableTransport(),
  adminKey?: string,
): Promise<NestExpressApplication> {
  const app = await NestFactory.create<NestExpressApplication>(AppModule.on(storage, transport, adminKey), {
    abortOnError: false,
    logger,
  });
  try {
    // Express would add an ETag of the body to each response; ours are the versions of entries.
    app.set('etag', false).disable('x-powered-by');
    const lastAnswers = app.get(CloseOnShutdown);
    app.use(oneAtATime, correlationId, lastAnswers.use.bind(lastAnswers));
    const extend = (_problem: object, request: Request) => ({ correlationId: correlationIdOf(request) });
    // Nest asks the last filter first, so the one that catches everything comes first.
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
