/**
 * Behind a pooler that hands each transaction another connection (PgBouncer), no statement may be
 * prepared and no session be set up.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { PostgresProvider, type PostgresProviderOptions } from '@kvent/key-value-postgres';
import type { StorageProvider } from '@kvent/key-value-storage/core';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { addressOf, batchOf, commitOne, opened, putBatch } from './rows.js';

/** Every kind of call, more often than it takes Postgres to keep a plan. */
async function everyCall(provider: StorageProvider): Promise<void> {
  const { container, entity, key } = addressOf('counter');
  for (let turn = 0; turn < 7; turn += 1) {
    const first = putBatch('one', '1');
    expect((await commitOne(provider, first)).outcome).toBe('committed');
    expect((await commitOne(provider, putBatch('one', '2', { version: first.version }))).outcome).toBe(
      'committed',
    );
    await provider.commit([
      putBatch('two', '2'),
      putBatch('three', '3'),
      batchOf([{ kind: 'sum', address: { container, entity, key }, operand: 1n, ttlMs: 1 }]),
    ]);
    expect((await provider.read([addressOf('one')])).rows[0]).toBeDefined();
    expect(
      (await provider.read([addressOf('one'), addressOf('none')], { values: 'omit' })).rows[1],
    ).toBeUndefined();
    await provider.scan([{ ...addressOf(''), limit: 2, reverse: turn % 2 === 0 }]);
    await provider.sweep(10);
    for await (const _ of provider.administration.export('shared'));
    expect(await provider.administration.databases()).toEqual(['shared']);
    await provider.administration.spaces('shared');
    await provider.administration.import('tenant:other', []);
    await provider.administration.drop('tenant:other');
  }
}

/** What is asked of the driver: the names of statements, and how sessions begin. */
const seen = { names: new Set<string>(), options: new Set<string | undefined>() };
interface Asked {
  query: (...args: unknown[]) => unknown;
}
const client = pg.Client.prototype as unknown as Asked;
const ask = client.query;

let database: FreshDatabase;
beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(async () => await database[Symbol.asyncDispose]());
beforeEach(() => {
  seen.names.clear();
  seen.options.clear();
  jest.spyOn(client, 'query').mockImplementation(function (this: Asked, ...args: unknown[]): unknown {
    const { name } = args[0] as { readonly name?: string };
    if (typeof name === 'string' && name !== '') seen.names.add(name);
    seen.options.add(
      (this as unknown as { readonly connectionParameters: { readonly options?: string } })
        .connectionParameters.options,
    );
    return ask.apply(this, args);
  });
});
afterEach(() => {
  jest.restoreAllMocks();
});

describe.each([false, true])('preparedStatements: %s', (preparedStatements) => {
  it.each<
    [string, (url: string) => Promise<Pick<PostgresProviderOptions, 'url' | 'poolSize' | 'dataSource'>>]
  >([
    ['a pool of its own', async (url) => await Promise.resolve({ url, poolSize: 1 })],
    [
      'a data source',
      async (url) => ({
        dataSource: await new DataSource({ type: 'postgres', url, extra: { max: 1 } }).initialize(),
      }),
    ],
  ])(
    `${preparedStatements ? 'prepares what is hot' : 'prepares nothing and sets no session up'}, over %s`,
    async (_, sourceOf) => {
      const source = await sourceOf(database.url);
      try {
        const provider = new PostgresProvider({ ...source, preparedStatements });
        await opened(provider, async () => {
          await everyCall(provider);
          const kept = await source.dataSource?.query<object[]>('select name from pg_prepared_statements');
          if (preparedStatements) {
            expect(seen.names.size).toBeGreaterThan(8);
            if (kept !== undefined) expect(kept.length).toBeGreaterThan(8);
          } else {
            expect([...seen.names]).toEqual([]);
            expect(kept ?? []).toEqual([]);
            expect(
              [...seen.options].filter(
                (options) => options !== undefined && options !== null && options !== '',
              ),
            ).toEqual([]);
          }
        });
      } finally {
        await source.dataSource?.destroy();
      }
    },
  );
});

describe('sessions of a pool of its own begin with our settings and those of the application', () => {
  afterEach(() => {
    delete process.env['PGOPTIONS'];
  });

  it.each<[string, (url: string) => PostgresProviderOptions, string | undefined]>([
    ['in extra', (url) => ({ url, extra: { options: '-c work_mem=5MB' } }), undefined],
    ['in the url', (url) => ({ url: `${url}?options=-c%20work_mem=5MB&application_name=shop` }), undefined],
    [
      'in the url, with a blank',
      (url) => ({ url: `${url}?application_name=shop&options=-c work_mem=5MB` }),
      undefined,
    ],
    [
      'in the url, over those of the environment',
      (url) => ({ url: `${url}?options=-c+work_mem=5MB` }),
      '-c work_mem=6MB',
    ],
    ['in the environment', (url) => ({ url }), '-c work_mem=5MB'],
  ])('%s', async (_, optionsOf, environment) => {
    if (environment !== undefined) process.env['PGOPTIONS'] = environment;
    const provider = new PostgresProvider({ ...optionsOf(database.url), poolSize: 1 });
    await opened(provider, async () => await provider.read([addressOf('one')]));
    expect([...seen.options]).toEqual([
      expect.stringMatching(/enable_seqscan=off.* -c lock_timeout=5000 -c work_mem=5MB$/),
    ]);
  });
});

it('a data source of the application keeps its settings: statements are planned anew there', async () => {
  const source = await new DataSource({
    type: 'postgres',
    url: `${database.url}?options=-c search_path=x`,
    extra: { max: 1 },
  }).initialize();
  const provider = new PostgresProvider({ dataSource: source });
  await opened(provider, async () => {
    await everyCall(provider);
    expect([...seen.names].every((name) => /_[0-9a-f]{12}_\d+$/.test(name))).toBe(true);
  });
  expect([...seen.options]).toEqual(['-c search_path=x']);
  await source.destroy();
});
