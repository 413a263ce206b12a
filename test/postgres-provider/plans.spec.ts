/**
 * What the statements cost: the planner finds rows by their key, however many there are, and keeps
 * to it when a statement was prepared while the table was small and analyzed (a plan made then
 * reads the whole table, until somebody analyzes it again). What is counted is what the server
 * itself counts of each table, once the sessions have ended.
 */
import { describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import type { StorageProvider } from '@kvent/key-value-storage/core';
import {
  CoalescingProvider,
  versionSource,
  type Address,
  type Batch,
} from '@kvent/key-value-storage/provider';
import { DataSource } from 'typeorm';
import { soaking } from '../faults/seeded-random.js';
import { asAdmin, freshDatabase } from '../postgres/databases.js';
import { until } from '../postgres/until.js';

const many = soaking ? 1_000_000 : 300_000;
const version = versionSource();
const space = { database: 'tenant:acme', container: 'state:state', entity: 'product' };
const address = (key: string): Address => ({ ...space, key });
const { database } = space;
const place = (key: string) => ({ container: space.container, entity: space.entity, key });

/** Each hot statement, once. */
async function workOn(provider: StorageProvider, round: number): Promise<void> {
  const key = `key-${1 + (round % 30)}`;
  const { rows } = await provider.read([address(key)]);
  await provider.read([address(key), address('key-31'), address('absent')]);
  await provider.scan([{ ...space, start: 'key-1', limit: 5 }]);
  await provider.scan([{ ...space, start: 'key-1', end: 'key-2', after: 'key-19', reverse: true, limit: 5 }]);
  // so many that the server adds up what their values take
  await provider.scan([{ ...space, start: 'key-1', limit: 20 }]);
  await provider.scan([
    { ...space, start: 'key-1', end: 'key-2', after: 'key-19', reverse: true, limit: 20 },
  ]);
  await provider.read(Array.from({ length: 40 }, (_, index) => address(`key-${index}`)));
  await provider.read(
    Array.from({ length: 40 }, (_, index) => ({
      ...address(`key-${index}`),
      ...(index === 0 && { entity: 'other' }),
    })),
  );
  const put = (at: string, expected?: string): Batch => ({
    database,
    version: version(),
    checks: expected === undefined ? [] : [{ address: place(at), expected: { version: expected } }],
    changes: [{ kind: 'put', address: place(at), value: { kind: 'json', text: '{"a":1}' }, ttl: 'never' }],
  });
  const sum: Batch = {
    database,
    version: version(),
    checks: [],
    changes: [{ kind: 'sum', address: place('counter'), operand: 1n }],
  };
  const two: Batch = {
    database,
    version: version(),
    checks: [{ address: place('absent'), expected: 'absent' }],
    changes: [
      { kind: 'put', address: place('key-32'), value: { kind: 'json', text: '2' }, ttl: 60_000 },
      { kind: 'delete', address: place('none') },
    ],
  };
  for (const batches of [
    [put(key, rows[0]?.version)],
    [put(key)],
    [put('key-33'), put('key-34')],
    [sum],
    [two],
  ]) {
    for (const result of await provider.commit(batches)) expect(result.outcome).toBe('committed');
  }
  await provider.sweep(10);
}

interface Counted {
  /** Rows that were read by going through the whole table. */
  readonly scanned: number;
  /** Blocks of the table and its indexes that were looked at. */
  readonly blocks: number;
}

async function countedOf(url: string): Promise<Counted> {
  return await asAdmin(url, async (client) => {
    const { rows } = await client.query<Record<'scanned' | 'blocks', string>>(
      `select seq_tup_read scanned, heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit blocks
       from pg_stat_user_tables join pg_statio_user_tables using (relid) where pg_stat_user_tables.relname = 'row'`,
    );
    return { scanned: Number(rows[0]?.scanned), blocks: Number(rows[0]?.blocks) };
  });
}

const fill = async (url: string, from: number, to: number, analyze: boolean): Promise<void> =>
  await asAdmin(url, async (client) => {
    await client.query(
      `insert into kvent.row (database, container, entity, key, version, updated_at, expires_at, value)
       select $1, $2, $3, 'key-' || i, i, now(), case when i % 100 = 0 then now() + interval '1 day' end, '{"a":1}' from generate_series($4::int, $5::int) i`,
      [space.database, space.container, space.entity, from, to],
    );
    if (analyze) await client.query('analyze kvent.row');
  });

/** An empty table that nobody analyzes behind our back. */
async function emptyTable(url: string): Promise<void> {
  const provider = new PostgresProvider({ url });
  await provider.open();
  await provider.close();
  await asAdmin(
    url,
    async (client) => await client.query('alter table kvent.row set (autovacuum_enabled = false)'),
  );
}

/**
 * Opens a provider on one connection, lets it work, and ends it; answers when the server has ended
 * the session, too: then it has counted.
 */
async function session(
  url: string,
  way: 'url' | 'dataSource',
  work: (provider: StorageProvider) => Promise<void>,
): Promise<void> {
  const dataSource =
    way === 'url' ? undefined : await new DataSource({ type: 'postgres', url, poolSize: 1 }).initialize();
  const provider = new CoalescingProvider(
    new PostgresProvider(dataSource === undefined ? { url, poolSize: 1 } : { dataSource }),
  );
  await provider.open();
  try {
    await work(provider);
  } finally {
    await provider.close();
    await dataSource?.destroy();
  }
  const others =
    'select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()';
  await until(
    'the session has ended',
    async () => await asAdmin(url, async (client) => (await client.query(others)).rowCount === 0),
  );
}

describe.each(['url', 'dataSource'] as const)('the statements of a provider given a %s', (way) => {
  it(`look at as many blocks with ${many} rows as with 1,000, and never go through the table`, async () => {
    const blocks: number[] = [];
    for (const rows of [1_000, many]) {
      await using fresh = await freshDatabase();
      await emptyTable(fresh.url);
      await fill(fresh.url, 1, rows, true);
      const before = await countedOf(fresh.url);
      await session(fresh.url, way, async (provider) => {
        for (let round = 0; round < 20; round += 1) await workOn(provider, round);
      });
      const after = await countedOf(fresh.url);
      // a thousand rows may well be read through where the application decides how its sessions
      // plan
      if (rows === many) expect(after.scanned - before.scanned).toBe(0);
      blocks.push(after.blocks - before.blocks);
    }
    const [few = 0, all = 0] = blocks;
    // an index of so many rows is a level higher
    expect(all).toBeLessThan(few * 2);
  });

  it('prepared while the table was small and analyzed, go by the key when it is large and was not analyzed again', async () => {
    await using fresh = await freshDatabase();
    await emptyTable(fresh.url);
    await fill(fresh.url, 1, 40, true);
    let before: Counted | undefined;
    await session(fresh.url, way, async (provider) => {
      for (let round = 0; round < 12; round += 1) await workOn(provider, round);
      await fill(fresh.url, 1_001, many, false);
      await provider.commit([
        ...Array.from({ length: 120 }, (_, index): Batch => ({
          database,
          version: version(),
          checks: [],
          changes: [
            { kind: 'put', address: place(`new-${index}`), value: { kind: 'json', text: '1' }, ttl: 'never' },
          ],
        })),
      ]);
      before = await countedOf(fresh.url);
      for (let round = 0; round < 12; round += 1) await workOn(provider, round);
    });
    const after = await countedOf(fresh.url);
    // with the plans of the small table it would be some 20 million
    expect(after.scanned - (before?.scanned ?? 0)).toBeLessThan(many);
  });
});
