/**
 * A row that is locked by the open transaction of another client delays only the writers of that
 * row: no other batch of the same statement, no other tenant, and not longer than the timeout.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import type { StorageProvider } from '@kvent/key-value-storage/core';
import {
  CoalescingProvider,
  type Batch,
  type Change,
  type CommitResult,
} from '@kvent/key-value-storage/provider';
import { Client, type Pool } from 'pg';
import { DataSource } from 'typeorm';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { Proxy } from '../postgres/proxy.js';
import { statementsOf } from '../postgres/statements-of.js';
import { until } from '../postgres/until.js';
import { addressOf, batchOf, commitOne, opened, putBatch, textAt, write } from './rows.js';

let database: FreshDatabase;
let source: DataSource;
beforeAll(async () => {
  database = await freshDatabase();
  source = await new DataSource({ type: 'postgres', url: database.url, extra: { max: 10 } }).initialize();
});
afterAll(async () => {
  await source.destroy();
  await database[Symbol.asyncDispose]();
});

/** Locks the rows of a tenant with this prefix, in a transaction of another client. */
async function lockRows(tenant: string, prefix: string): Promise<{ release(): Promise<void> }> {
  const client = new Client({ connectionString: database.url, application_name: tenant });
  await client.connect();
  await client.query('begin');
  const { rowCount } = await client.query(
    'select from kvent.row where database = $1 and starts_with(key, $2) for update',
    [tenant, prefix],
  );
  if (rowCount === 0) throw new Error('There is no row to lock.');
  return { release: async () => await client.end() };
}

/** The number of sessions that wait for a lock. */
async function waiters(): Promise<number> {
  const [{ count } = { count: 0 }] = await source.query<{ count: number }[]>(
    `select count(*)::int count from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  );
  return count;
}

/** Whether a session waits for a row of a tenant for longer than a group of batches would. */
async function waitsAlone(tenant: string): Promise<boolean> {
  const [{ count } = { count: 0 }] = await source.query<{ count: number }[]>(
    `select count(*)::int count from pg_stat_activity a, unnest(pg_blocking_pids(a.pid)) b(pid) join pg_stat_activity h using (pid)
    where h.application_name = $1 and clock_timestamp() - a.query_start > interval '500 ms'`,
    [tenant],
  );
  return count > 0;
}

/** A promise with its state. */
function watched<R>(work: Promise<R>): { readonly work: Promise<R>; isSettled(): boolean } {
  let settled = false;
  work.then(
    () => (settled = true),
    () => (settled = true),
  );
  return { work, isSettled: () => settled };
}

const numbers = (count: number): readonly number[] => Array.from({ length: count }, (_, index) => index);

describe.each(['a pool of its own', 'a data source'])(
  'a row that another transaction holds, over %s',
  (pool) => {
    const tenant = `tenant:${pool.replaceAll(' ', '-')}`;
    const provider = (lockTimeoutMs: number): CoalescingProvider =>
      new CoalescingProvider(
        new PostgresProvider({
          ...(pool === 'a data source' ? { dataSource: source } : { url: database.url, poolSize: 10 }),
          lockTimeoutMs,
        }),
      );

    /** Writes rows, locks some of them, and runs `work`. */
    async function whileHeld(
      work: (target: StorageProvider) => Promise<void>,
      lockTimeoutMs = 100_000,
    ): Promise<void> {
      const target = provider(lockTimeoutMs);
      await opened(target, async () => {
        for (const index of numbers(30)) await write(target, `row-${index}`, '0', tenant);
        const { release } = await lockRows(tenant, 'row-1');
        releaseRows = release;
        try {
          await work(target);
        } finally {
          await release();
        }
      });
    }
    let releaseRows: () => Promise<void>;

    /** One batch that puts several rows without checks. */
    const several = (...keys: readonly string[]): Batch =>
      batchOf(
        keys.map((key) => {
          const { container, entity } = addressOf(key);
          return {
            kind: 'put',
            address: { container, entity, key },
            value: { kind: 'json', text: '"all"' },
            ttl: 'never',
          };
        }),
        [],
        tenant,
      );

    it('delays its writers, and no other batch of the same statement', async () => {
      const target = provider(100_000);
      await opened(target, async () => {
        for (const index of numbers(30)) await write(target, `row-${index}`, '0', tenant);
        const { release } = await lockRows(tenant, 'row-7');
        const held = watched(commitOne(target, putBatch('row-7', '1', undefined, tenant)));
        const counted = batchOf(
          [{ kind: 'sum', address: { ...addressOf('counter'), key: 'counter' }, operand: 1n }],
          [],
          tenant,
        );
        const others = numbers(30)
          .filter((index) => index !== 7)
          .map(async (index) => await commitOne(target, putBatch(`row-${index}`, '1', 'present', tenant)));
        const answers = await Promise.all([...others, commitOne(target, counted)]);
        expect(new Set(answers.map(({ outcome }) => outcome))).toEqual(new Set(['committed']));
        // Reads do not wait.
        expect(await textAt(target, 'row-7', tenant)).toBe('0');
        expect((await target.scan([{ ...addressOf('', tenant), limit: 100 }]))[0]?.rows.length).toBe(31);
        await until('the write waits for the row', async () => (await waiters()) > 0);
        expect(held.isSettled()).toBe(false);
        await release();
        expect((await held.work).outcome).toBe('committed');
        expect(await textAt(target, 'row-7', tenant)).toBe('1');
      });
    });

    it('delays the changes of a number together, and rejects all of them after lockTimeoutMs', async () => {
      const key = 'hot';
      const add = (by: bigint) =>
        batchOf([{ kind: 'sum', address: { ...addressOf(key), key }, operand: by }], [], tenant);
      const numbersOf = (results: readonly CommitResult[]) =>
        results.map((result) =>
          result.outcome === 'committed' ? Number(result.rows[0]?.number) : undefined,
        );
      for (const lockTimeoutMs of [100_000, 300]) {
        const target = provider(lockTimeoutMs);
        await opened(target, async () => {
          await target.administration.drop(tenant);
          await commitOne(target, add(1n));
          const { release } = await lockRows(tenant, key);
          const calls = numbers(20).map(async () => await commitOne(target, add(1n)));
          expect((await commitOne(target, putBatch('free', '1', undefined, tenant))).outcome).toBe(
            'committed',
          );
          if (lockTimeoutMs > 300) {
            await until('one statement waits for the row', async () => (await waiters()) === 1);
            await release();
            expect(numbersOf(await Promise.all(calls))).toEqual(numbers(20).map((index) => index + 2));
          } else {
            for (const result of await Promise.allSettled(calls))
              expect(result).toMatchObject({
                status: 'rejected',
                reason: { code: 'STORAGE_UNAVAILABLE', effect: 'none' },
              });
            await release();
            expect(numbersOf([await commitOne(target, add(1n))])).toEqual([2]);
          }
        });
      }
    });

    it('delays no other tenant, with more callers waiting than there are connections', async () => {
      await whileHeld(async (target) => {
        // row-1 and row-10 to row-19, twice each
        const wanted = [1, ...numbers(10).map((index) => 10 + index)].flatMap((index) => [index, index]);
        const waiting = wanted.map((index) =>
          watched(commitOne(target, putBatch(`row-${index}`, '1', undefined, tenant))),
        );
        await until('the maximum of writes waits', async () => (await waiters()) >= 3);
        for (const round of numbers(10)) {
          const calls = numbers(20).map(
            async (index) =>
              await commitOne(
                target,
                putBatch(`other-${index}`, String(round), undefined, `${tenant}-other`),
              ),
          );
          await Promise.all(calls);
          expect(await textAt(target, 'other-3', `${tenant}-other`)).toBe(String(round));
        }
        expect(waiting.filter(({ isSettled }) => isSettled())).toEqual([]);
        // For a moment, writes that have just begun to wait are counted too.
        await until('at most the maximum of writes waits', async () => (await waiters()) <= 3);
        void Promise.allSettled(waiting.map(async ({ work }) => await work));
      });
    });

    it('leaves waits for the rows of another tenant, which are free sooner', async () => {
      await whileHeld(async (target) => {
        const other = `${tenant}-other`;
        await write(target, 'theirs', '0', other);
        const waiting = [1, ...numbers(10).map((index) => 10 + index)].map((index) =>
          watched(commitOne(target, putBatch(`row-${index}`, '1', undefined, tenant))),
        );
        await until('the maximum of writes of the tenant waits', async () => (await waiters()) >= 3);
        const { release } = await lockRows(other, 'theirs');
        const theirs = commitOne(target, putBatch('theirs', '1', undefined, other));
        await until('the write of the other tenant waits alone', async () => await waitsAlone(other), 20_000);
        await release();
        expect((await theirs).outcome).toBe('committed');
        expect(waiting.filter(({ isSettled }) => isSettled())).toEqual([]);
        void Promise.allSettled(waiting.map(async ({ work }) => await work));
      });
    });

    it('delays no write of the other rows of a waiting batch, in this process and in another', async () => {
      await whileHeld(async (target) => {
        const held = watched(commitOne(target, putBatch('row-1', '"held"', undefined, tenant)));
        const both = watched(commitOne(target, several('row-0', 'row-1', 'row-2')));
        expect((await commitOne(target, putBatch('row-2', '"free"', undefined, tenant))).outcome).toBe(
          'committed',
        );
        await until('the write waits for the row', async () => (await waiters()) > 0);
        const elsewhere = provider(100_000);
        await opened(elsewhere, async () => {
          // A batch without neighbours, so that it is sent at once.
          const alone = watched(commitOne(elsewhere, several('row-10', 'row-3', 'row-4')));
          await until('two wait for rows', async () => (await waiters()) > 1);
          for (const round of numbers(5))
            for (const [by, key] of [
              [target, 'row-0'],
              [target, 'row-3'],
              [elsewhere, 'row-2'],
              [elsewhere, 'row-4'],
            ] as const)
              expect((await commitOne(by, putBatch(key, String(round), undefined, tenant))).outcome).toBe(
                'committed',
              );
          expect([held, both, alone].map(({ isSettled }) => isSettled())).toEqual([false, false, false]);
          await releaseRows();
          expect(
            await Promise.all([held, both, alone].map(async ({ work }) => (await work).outcome)),
          ).toEqual(['committed', 'committed', 'committed']);
          for (const key of ['row-0', 'row-10', 'row-3'])
            expect(await textAt(target, key, tenant)).toBe('"all"');
        });
      });
    });

    it('delays only its writers also while another transaction creates it', async () => {
      const target = provider(100_000);
      await opened(target, async () => {
        await write(target, 'there', '0', tenant);
        const client = new Client({ connectionString: database.url });
        await client.connect();
        try {
          await client.query(`begin; insert into kvent.row (database, container, entity, key, version, updated_at, value)
          values ('${tenant}', 'state:spec', 'thing', 'new', 1, now(), '"theirs"')`);
          const both = watched(commitOne(target, several('there', 'new')));
          await until('the write waits for the row', async () => (await waiters()) > 0);
          for (const round of numbers(5))
            expect(
              (await commitOne(target, putBatch('there', String(round), undefined, tenant))).outcome,
            ).toBe('committed');
          expect(both.isSettled()).toBe(false);
          await client.query('rollback');
          expect((await both.work).outcome).toBe('committed');
          expect([await textAt(target, 'there', tenant), await textAt(target, 'new', tenant)]).toEqual([
            '"all"',
            '"all"',
          ]);
        } finally {
          await client.end();
        }
      });
    });

    it('rejects its writers after lockTimeoutMs, but no write of another row of the same batch', async () => {
      await whileHeld(async (target) => {
        const [held, both, free] = await Promise.allSettled([
          commitOne(target, putBatch('row-1', '"held"', undefined, tenant)),
          commitOne(target, several('row-1', 'row-2')),
          commitOne(target, putBatch('row-2', '"free"', undefined, tenant)),
        ]);
        const refused = {
          status: 'rejected',
          reason: { code: 'STORAGE_UNAVAILABLE', effect: 'none', message: expect.stringContaining('held') },
        };
        expect([held, both]).toMatchObject([refused, refused]);
        expect(free).toMatchObject({ status: 'fulfilled', value: { outcome: 'committed' } });
        expect(await textAt(target, 'row-2', tenant)).toBe('"free"');
        // Sent alone, with no batch before it.
        const alone = commitOne(target, several('row-2', 'row-1'));
        const after = commitOne(target, putBatch('row-2', '"after"', undefined, tenant));
        expect((await after).outcome).toBe('committed');
        await expect(alone).rejects.toMatchObject(refused.reason);
      }, 300);
    });

    it('fails its writers after lockTimeoutMs with effect none, and they can retry', async () => {
      await whileHeld(async (target) => {
        const calls: Promise<CommitResult>[] = [1, 10, 11, 12, 13, 14, 15].map((index) =>
          commitOne(target, putBatch(`row-${index}`, '1', undefined, tenant)),
        );
        const settled = await Promise.allSettled([
          ...calls,
          commitOne(target, putBatch('row-2', '2', undefined, tenant)),
        ]);
        expect(settled.pop()).toMatchObject({ status: 'fulfilled', value: { outcome: 'committed' } });
        for (const result of settled)
          expect(result).toMatchObject({
            status: 'rejected',
            reason: {
              code: 'STORAGE_UNAVAILABLE',
              effect: 'none',
              retryable: true,
              message: expect.stringContaining('held'),
            },
          });
        expect(await textAt(target, 'row-1', tenant)).toBe('0');
      }, 300);
      const after = provider(300);
      await opened(after, async () => {
        expect((await commitOne(after, putBatch('row-1', '1', 'present', tenant))).outcome).toBe('committed');
      });
    });
  },
);

it('a row that could expire during a long wait is decided after it', async () => {
  const tenant = 'tenant:expiring';
  const target = new PostgresProvider({ dataSource: source, lockTimeoutMs: 600_000 });
  await opened(target, async () => {
    const { container, entity } = addressOf('row');
    const put = (text: string, ttl: number | 'never'): Batch =>
      batchOf(
        [{ kind: 'put', address: { container, entity, key: 'row' }, value: { kind: 'json', text }, ttl }],
        [],
        tenant,
      );
    await target.commit([put('0', 3_600_000)]);
    await target.commit([put('1', 300_000)]);
    const { release } = await lockRows(tenant, 'row');
    const statements = statementsOf(async () => await target.commit([put('2', 'never')]));
    try {
      await until('the write waits for the row', async () => await waitsAlone(tenant));
    } finally {
      await release();
    }
    // the short wait, the long one, and the general statement
    expect(await statements).toBe(3);
    expect(await textAt(target, 'row', tenant)).toBe('2');
  });
});

it.each(['find_held', 'wait_for_row'])(
  'a batch that waits is STORAGE_UNAVAILABLE where the answer to %s is lost: nothing of it was in flight',
  async (statement) => {
    const tenant = `tenant:${statement.length}`;
    await using proxy = await Proxy.before({ port: Number(new URL(database.url).port) });
    const target = new PostgresProvider({ url: proxy.url(database.url), lockTimeoutMs: 600_000 });
    await opened(target, async () => {
      for (const key of ['row-1', 'row-2']) await write(target, key, '0', tenant);
      const { release } = await lockRows(tenant, 'row-1');
      try {
        // a read is sent twice
        const lost = [1, 2].map(async () => await proxy.loseRequest(`kvent_${statement}`));
        const { container, entity } = addressOf('');
        const put = (key: string): Change => ({
          kind: 'put',
          address: { container, entity, key },
          value: { kind: 'json', text: '1' },
          ttl: 'never',
        });
        const [result] = await target.commit([batchOf([put('row-1'), put('row-2')], [], tenant)]);
        await Promise.all(lost);
        expect(result).toMatchObject({
          outcome: 'failed',
          error: { code: 'STORAGE_UNAVAILABLE', effect: 'none' },
        });
      } finally {
        await release();
      }
    });
  },
);

it('sixty rows that a transaction holds, with a writer each, never take the whole pool', async () => {
  const pooled = await new DataSource({
    type: 'postgres',
    url: database.url,
    extra: { max: 10 },
  }).initialize();
  const pool = (pooled.driver as unknown as { readonly master: Pool }).master;
  let most = 0;
  pool.on('acquire', () => (most = Math.max(most, pool.totalCount - pool.idleCount)));
  try {
    const target = new CoalescingProvider(new PostgresProvider({ dataSource: pooled, lockTimeoutMs: 300 }));
    await opened(target, async () => {
      const tenant = 'tenant:many';
      for (const index of numbers(60)) await write(target, `row-${index}`, '0', tenant);
      const { release } = await lockRows(tenant, 'row-');
      most = 0;
      const calls = numbers(60).map((index) => putBatch(`row-${index}`, '1', undefined, tenant));
      const settled = await Promise.allSettled([
        ...calls.map(async (batch) => await commitOne(target, batch)),
        commitOne(target, putBatch('free', '1', undefined, tenant)),
      ]);
      expect(settled.pop()).toMatchObject({ status: 'fulfilled', value: { outcome: 'committed' } });
      expect(new Set(settled.map(({ status }) => status))).toEqual(new Set(['rejected']));
      expect(most).toBeLessThanOrEqual(6);
      await release();
    });
  } finally {
    await pooled.destroy();
  }
});
