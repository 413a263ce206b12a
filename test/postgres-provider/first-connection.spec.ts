/** A provider whose server cannot be reached at first. */
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { Proxy } from '../postgres/proxy.js';

let database: FreshDatabase;
let proxy: Proxy;
beforeEach(async () => {
  database = await freshDatabase();
  proxy = await Proxy.before({ port: Number(new URL(database.url).port) });
});
afterEach(async () => {
  await proxy[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

it('a server that starts later than the application is awaited, with one warning', async () => {
  await proxy.refuse();
  const warnings: string[] = [];
  const provider = new PostgresProvider({
    url: proxy.url(database.url),
    connectAttempts: 1_000,
    connectDelayMs: 20,
    warn: (message) => {
      warnings.push(message);
      void proxy.pass();
    },
  });
  await provider.open();
  await provider.close();
  const name = new URL(database.url).pathname.slice(1);
  expect(warnings).toEqual([
    `Postgres table "kvent"."row": no connection to 127.0.0.1:${proxy.port}, database ${name} (ECONNREFUSED); 999 more attempts, every 20 ms.`,
  ]);
});

it('after the last attempt the error names host, port and database, and no password', async () => {
  await proxy.refuse();
  const warnings: string[] = [];
  const url = proxy.url(database.url);
  const options = { url, connectAttempts: 3, connectDelayMs: 1, warn: (text: string) => warnings.push(text) };
  const error = await new PostgresProvider(options).open().catch((reason: unknown) => reason as Error);
  const { password, pathname } = new URL(url);
  expect(error).toMatchObject({ code: 'STORAGE_UNAVAILABLE', effect: 'none', retryable: true });
  const { message } = error as Error;
  expect(message).toContain(
    `cannot be opened at 127.0.0.1:${proxy.port}, database ${pathname.slice(1)} (ECONNREFUSED)`,
  );
  expect(message + warnings.join('')).not.toContain(password);
});

it('a server that refuses the password is asked once', async () => {
  const url = new URL(proxy.url(database.url));
  url.password = 'another';
  const warnings: string[] = [];
  const provider = new PostgresProvider({
    url: url.href,
    connectAttempts: 1_000,
    connectDelayMs: 2 ** 31 - 1,
    warn: (message) => warnings.push(message),
  });
  await expect(provider.open()).rejects.toThrow('(28P01)');
  expect(warnings).toEqual([]);
});

it('an address whose password is mistyped into its database shows neither', async () => {
  const provider = new PostgresProvider({
    url: 'postgres://shop:1/hunter2@db/shop',
    connectAttempts: 1,
  });
  const error = await provider.open().catch((reason: unknown) => reason as Error);
  expect((error as Error).message).not.toContain('hunter2');
});
