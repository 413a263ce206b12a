/** The shop as an application: for `main.ts`, and for tests. */
import type { INestApplication, LoggerService, LogLevel } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventStore } from '@kvent/event-store';
import { KeyValueStorage, ProblemDetailsFilter, StorageExceptionFilter } from '@kvent/key-value-storage';
import { addApiPage } from './api-page.js';
import { AccessService } from './access/access.service.js';
import { privateResponses } from './access/private-responses.js';
import { AppModule } from './app.module.js';
import { createAdapter, type HttpFramework } from './http/adapter.js';
import { CloseOnShutdown } from './http/close-on-shutdown.js';
import type { ShopRequest } from './http/exchange.js';
import { oneAtATime } from './http/one-at-a-time.js';
import { onlyJson } from './http/only-json.js';
import { reliableTransport, type BankTransport } from './orders/bank.js';
import { correlationId, correlationIdOf } from './problems/correlation-id.js';
import { ShopErrorFilter } from './problems/shop-error.filter.js';
import { seed } from './seed.js';
import type { ChosenStorage } from './storage.js';

export interface StorefrontOptions {
  readonly logger: LoggerService | LogLevel[] | false;
  /** The connection to the bank. */
  readonly transport?: BankTransport | undefined;
  /** Then every caller needs a key. */
  readonly adminKey?: string | undefined;
  /** The folder of the mails to customers. @default none are sent */
  readonly mails?: string | undefined;
  /** @default 'express' */
  readonly http?: HttpFramework | undefined;
}

/**
 * Opens the storage and fills the demo shops; the caller calls `listen`. A failure leaves nothing
 * open.
 */
export async function openStorefront(
  storage: ChosenStorage,
  { logger, transport = reliableTransport(), adminKey, mails, http = 'express' }: StorefrontOptions,
): Promise<INestApplication> {
  const app = await NestFactory.create(
    AppModule.on(storage, transport, { adminKey, mails }),
    await createAdapter(http),
    { abortOnError: false, logger },
  );
  try {
    const lastAnswers = app.get(CloseOnShutdown);
    for (const middleware of [
      privateResponses(app.get(AccessService)),
      oneAtATime,
      correlationId,
      lastAnswers.use.bind(lastAnswers),
      onlyJson,
    ])
      app.use(middleware);
    const extend = (_problem: object, request: ShopRequest) => ({ correlationId: correlationIdOf(request) });
    // Nest asks the last filter first, so the one that catches everything comes first.
    app.useGlobalFilters(
      new ProblemDetailsFilter({ extend }),
      new StorageExceptionFilter({ extend }),
      new ShopErrorFilter(app.getHttpAdapter()),
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
