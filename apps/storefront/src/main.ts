import 'reflect-metadata';
import type { Server } from 'node:http';
import type { INestApplication } from '@nestjs/common';
import { hidePasswords, isStorageError } from '@kvent/key-value-storage';
import { reliableTransport, unreliableTransport } from './orders/bank.js';
import { SetupError } from './setup-error.js';
import { settingsFrom, type Settings } from './settings.js';
import { resetDemo } from './reset-demo.js';
import { StartUpLogger } from './start-up-logger.js';
import { chooseStorage, type ChosenStorage } from './storage.js';
import { openStorefront, type StorefrontOptions } from './storefront.js';
import { openingLines } from './welcome/opening-lines.js';

try {
  await main(settingsFrom(process.env, process.argv.slice(2)));
} catch (error) {
  // addresses in the settings may contain passwords
  const advice = error instanceof SetupError && error.advice !== '' ? ` ${error.advice}` : '';
  console.error(`${hidePasswords(explain(error))}${advice}`);
  process.exit(1);
}

async function main(settings: Settings): Promise<void> {
  const { port, host } = settings;
  const storage = chooseStorage(settings.storage);
  const app = await open(storage, settings).catch((error: unknown) => {
    throw explainUnavailable(error, storage);
  });
  // Ctrl+C and SIGTERM: requests in progress are answered, and the exit code is 0.
  app.enableShutdownHooks([], { useProcessExit: true });
  try {
    const server = app.getHttpServer() as Server;
    // longer than a load balancer keeps an idle connection, so that it never uses a closing one
    server.keepAliveTimeout = 75_000;
    // limits for slow clients
    server.headersTimeout = 10_000;
    server.requestTimeout = 30_000;
    server.setTimeout(60_000);
    await app.listen(port, host);
    console.log(openingLines(portOf(server.address(), port), storage));
  } catch (error) {
    await app.close();
    throw error;
  }
}

async function open(
  storage: ChosenStorage,
  { fresh, logAll, bank, slowCardMs, adminKey, mails, http }: Settings,
): Promise<INestApplication> {
  if (fresh) await resetDemo(storage);
  const transport = bank === 'unreliable' ? unreliableTransport(slowCardMs) : reliableTransport(slowCardMs);
  const logger: StorefrontOptions['logger'] = logAll
    ? ['verbose', 'debug', 'log', 'warn', 'error', 'fatal']
    : new StartUpLogger();
  return await openStorefront(storage, { logger, transport, adminKey, mails, http });
}

/** The message of the chosen storage if it is unavailable, with the reason of the driver. */
function explainUnavailable(error: unknown, storage: ChosenStorage): unknown {
  if (storage.whenUnavailable === undefined || !isStorageError(error, 'STORAGE_UNAVAILABLE')) return error;
  const { message = '' } = (error.cause ?? {}) as { readonly message?: string };
  return storage.whenUnavailable(message === '' ? error.message : message);
}

function portOf(address: string | { readonly port: number } | null, asked: number): number {
  return typeof address === 'object' && address !== null ? address.port : asked;
}

/** One line for mistakes of the user; the stack for bugs. */
function explain(error: unknown): string {
  if (error instanceof SetupError) return error.message;
  const { code, port, message, stack } = error as {
    code?: string;
    port?: number;
    message?: string;
    stack?: string;
  };
  if (code === 'EADDRINUSE')
    return `Port ${port} is taken. Choose another one: PORT=${Number(port) + 1} npm start`;
  if (code === 'EACCES' && port !== undefined)
    return `Port ${port} is not for this user. Choose another one: PORT=3000 npm start`;
  if (isStorageError(error, 'STORAGE_LOCKED'))
    return `${message} Stop that process, or open a second shop: STOREFRONT_STORAGE=./data/second PORT=3001 npm start`;
  if (isStorageError(error)) return `${error.message} [${error.code}, ${error.help}]`;
  return stack ?? message ?? String(error);
}
