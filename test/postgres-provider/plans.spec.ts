/**
 * The cost of the statements: the planner finds rows by their key, however many there are, also if
 * a statement was prepared while the table was small and analyzed (a generic plan from then would
 * read the whole table). The test compares the statistics of the server after the sessions have
 * ended.
 */
import { describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import type { StorageProvider } from '@kvent/key-value-storage/core';
import {
  feedPositionOf,
  CoalescingProvider,
  versionSource,
  type Address,
  type Batch,
} from '@kvent/key-value-storage/provider';
import { DataSource } from 'typeorm';
import { isSoak } from '../faults/seeded-random.js';
import { asAdmin, freshDatabase } from '../postgres/databases.js';
import { until } from '../postgres/until.js';

const rowCount = isSoak ? 1_000_000 : 300_000;
const version = versionSource();
const namespace = { database: 'tenant:acme', container: 'state:state', entity: 'product' };
const address = (key: string): Address => ({ ...namespace, key });
const { database } = namespace;
const rowAddress = (key: string) => ({ container: namespace.container, entity: namespace.entity, key });

/** Runs each frequent statement once. */
async function workOn(provider: StorageProvider, round: number): Promise<void> {
  const key = `key-${1 + (round % 30)}`;
  const { rows } = await provider.read([address(key)]);
  await provider.read([address(key), address('key-31'), address('absent')]);
  await provider.scan([{ ...namespace, start: 'key-1', limit: 5 }]);
  await provider.scan([
    { ...namespace, start: 'key-1', end: 'key-2', after: 'key-19', reverse: true, limit: 5 },
  ]);
  // So many rows that the server sums the sizes of their values.
  await provider.scan([{ ...namespace, start: 'key-1', limit: 20 }]);
  await provider.scan([
    { ...namespace, start: 'key-1', end: 'key-2', after: 'key-19', reverse: true, limit: 20 },
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
    checks: expected === undefined ? [] : [{ address: rowAddress(at), expected: { version: expected } }],
    changes: [
      { kind: 'put', address: rowAddress(at), value: { kind: 'json', text: '{"a":1}' }, ttl: 'never' },
    ],
  });
  const sum: Batch = {
    database,
    version: version(),
    checks: [],
    changes: [{ kind: 'sum', address: rowAddress('counter'), operand: 1n }],
  };
  const two: Batch = {
    database,
    version: version(),
    checks: [{ address: rowAddress('absent'), expected: 'absent' }],
    changes: [
      { kind: 'put', address: rowAddress('key-32'), value: { kind: 'json', text: '2' }, ttl: 60_000 },
      { kind: 'delete', address: rowAddress('none') },
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
  // a short page, and one that is sent as one line
  for (const limit of [20, 40]) {
    await provider.feed?.({ limit });
    await provider.feed?.({ limit, containers: [namespace.container] });
  }
  // one position is taken, and one is free
  const value = { kind: 'json', text: '1' } as const;
  for (const [at, second] of [
    ['import-1', 7],
    ['import-2', 2_000_000],
  ] as const)
    await provider.administration.import(database, [
      {
        ...rowAddress(at),
        row: { version: version(), value, updatedAt: 1, position: feedPositionOf(1, second) },
      },
    ]);
  await provider.sweep(10);
}

interface Statistics {
  /** Rows that were read by sequential scans. */
  readonly scanned: number;
  /** Blocks of the table and its indexes that were read. */
  readonly blocks: number;
}

async function statisticsOf(url: string): Promise<Statistics> {
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
      `insert into kvent.row (database, container, entity, key, version, updated_at, expires_at, value, feed_transaction, feed_sequence)
       select $1, $2, $3, 'key-' || i, i, now(), case when i % 100 = 0 then now() + interval '1 day' end, '{"a":1}', 1, i from generate_series($4::int, $5::int) i`,
      [namespace.database, namespace.container, namespace.entity, from, to],
    );
    if (analyze) await client.query('analyze kvent.row');
  });

/** Creates an empty table without autovacuum, so that it is analyzed only by the test. */
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
 * Runs `work` on a provider with one connection. Resolves after the server has ended the session,
 * because it updates its statistics then.
 */
async function session(
  url: string,
  option: 'url' | 'dataSource',
  work: (provider: StorageProvider) => Promise<void>,
): Promise<void> {
  const dataSource =
    option === 'url' ? undefined : await new DataSource({ type: 'postgres', url, poolSize: 1 }).initialize();
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

describe.each(['url', 'dataSource'] as const)('the statements of a provider given a %s', (option) => {
  it(`read as many blocks with ${rowCount} rows as with 1,000, and never scan the table`, async () => {
    const blocks: number[] = [];
    for (const rows of [1_000, rowCount]) {
      await using fresh = await freshDatabase();
      await emptyTable(fresh.url);
      await fill(fresh.url, 1, rows, true);
      const before = await statisticsOf(fresh.url);
      await session(fresh.url, option, async (provider) => {
        for (let round = 0; round < 20; round += 1) await workOn(provider, round);
      });
      const after = await statisticsOf(fresh.url);
      // A thousand rows may be scanned if the application configures the planner.
      if (rows === rowCount) expect(after.scanned - before.scanned).toBe(0);
      blocks.push(after.blocks - before.blocks);
    }
    const [few = 0, all = 0] = blocks;
    // The larger index has one more level.
    expect(all).toBeLessThan(few * 2);
  });

  it('that were prepared on a small analyzed table use the key after the table has grown', async () => {
    await using fresh = await freshDatabase();
    await emptyTable(fresh.url);
    await fill(fresh.url, 1, 40, true);
    let before: Statistics | undefined;
    await session(fresh.url, option, async (provider) => {
      for (let round = 0; round < 12; round += 1) await workOn(provider, round);
      await fill(fresh.url, 1_001, rowCount, false);
      await provider.commit([
        ...Array.from({ length: 120 }, (_, index): Batch => ({
          database,
          version: version(),
          checks: [],
          changes: [
            {
              kind: 'put',
              address: rowAddress(`new-${index}`),
              value: { kind: 'json', text: '1' },
              ttl: 'never',
            },
          ],
        })),
      ]);
      before = await statisticsOf(fresh.url);
      for (let round = 0; round < 12; round += 1) await workOn(provider, round);
    });
    const after = await statisticsOf(fresh.url);
    // With the plans of the small table it would be about 20 million.
    expect(after.scanned - (before?.scanned ?? 0)).toBeLessThan(rowCount);
  });
});

describe('a count', () => {
  interface PlanNode {
    readonly 'Node Type': string;
    readonly 'Index Name'?: string;
    readonly 'Heap Fetches'?: number;
    readonly Plans?: readonly PlanNode[];
  }
  const nodesOf = (node: PlanNode): readonly PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)];

  it('is an index-only scan of a vacuumed table, and looks only for the expired rows in the table', async () => {
    await using fresh = await freshDatabase();
    await emptyTable(fresh.url);
    await fill(fresh.url, 1, 20_000, false);
    const range = { ...namespace, start: 'key-1', end: 'key-3' };
    await asAdmin(fresh.url, async (client) => {
      await client.query(`update kvent.row set value = to_json(repeat('x', 500))`);
      await client.query(
        `update kvent.row set expires_at = now() - interval '1 hour' where key = 'key-1000'`,
      );
      await client.query('vacuum (full, analyze) kvent.row');
      // Again where another session of the server still sees what is removed, or uses a page. For
      // few removed rows, a vacuum leaves the index, and so their pages, as they are.
      await until('all pages are marked as visible to all', async () => {
        await client.query('vacuum (index_cleanup on) kvent.row');
        const { rows } = await client.query<{ whole: boolean }>(
          `select relallvisible = relpages whole from pg_class where oid = 'kvent.row'::regclass`,
        );
        return rows[0]?.whole === true;
      });
    });
    const provider = new PostgresProvider({ url: fresh.url, poolSize: 1 });
    await provider.open();
    try {
      const counted = await provider.count(range);
      const plan = await asAdmin(fresh.url, async (client) => {
        const { rows } = await client.query<{ n: string }>(
          `select count(*) n from kvent.row where key >= $1 and key < $2 and key <> 'key-1000'`,
          [range.start, range.end],
        );
        expect(counted).toBe(Number(rows[0]?.n));
        // as the session of the provider has sent it
        const sent = await client.query<{ query: string }>(
          `select query from pg_stat_activity where datname = current_database() and query like '%count(*)%' and pid <> pg_backend_pid()`,
        );
        await client.query(`prepare counted as ${String(sent.rows[0]?.query)}`);
        await client.query('set plan_cache_mode = force_generic_plan');
        const explained = await client.query<{ 'QUERY PLAN': readonly [{ readonly Plan: PlanNode }] }>(
          `explain (analyze, format json) execute counted('${range.database}', '${range.container}', '${range.entity}', '${range.start}', '${range.end}')`,
        );
        return nodesOf((explained.rows[0] as (typeof explained.rows)[number])['QUERY PLAN'][0].Plan);
      });
      const scans = plan.filter((node) => node['Node Type'].includes('Scan'));
      expect(scans.filter((node) => node['Node Type'] === 'Index Only Scan')).toMatchObject([
        { 'Index Name': 'row_pkey', 'Heap Fetches': 0 },
      ]);
      const others = scans.filter((node) => node['Node Type'] !== 'Index Only Scan');
      expect(new Set(others.map((node) => node['Index Name'] ?? node['Node Type']))).toEqual(
        new Set(['row_expires_at']),
      );
    } finally {
      await provider.close();
    }
  });
});
