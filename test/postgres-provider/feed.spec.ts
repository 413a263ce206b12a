/**
 * The feed on Postgres: late commits, transactions that are older than what they follow, dumps that
 * were restored into another server, and tables that are older than the feed.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  defineProjection,
  defineStream,
  event,
  EventStore,
  ProjectionRunner,
  type EventStream,
} from '@kvent/event-store';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { feedPositionOf, versionSource, type Batch, type RawRow } from '@kvent/key-value-storage/provider';
import {
  defineState,
  isStorageError,
  openStorage,
  type KeyValueStorage,
} from '@kvent/key-value-storage/core';
import { DataSource, type QueryRunner } from 'typeorm';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { until } from '../postgres/until.js';
import { batchOf, opened } from './rows.js';

const Orders = defineStream('order', {
  events: { placed: event<{ n: number }>() },
  initial: () => 0,
  evolve: (_, { data }) => data.n,
});
const placed = (n: number) => [{ type: 'placed', data: { n } }] as const;

const LastOrder = defineState<{ readonly n: number }>('last-order');
const byStream = defineProjection('last-order', {
  streams: [Orders],
  into: LastOrder,
  key: ({ stream }) => stream,
  initial: () => ({ n: 0 }),
  evolve: (_, { data }) => data,
});

const guide = readFileSync(join(import.meta.dirname, '../../docs/guides/operate-postgres.md'), 'utf8');

let database: FreshDatabase;
let source: DataSource;
beforeAll(async () => {
  database = await freshDatabase();
  source = await new DataSource({ type: 'postgres', url: database.url, extra: { max: 8 } }).initialize();
});
afterAll(async () => {
  await source.destroy();
  await database[Symbol.asyncDispose]();
});

interface Opened {
  readonly storage: KeyValueStorage;
  readonly events: EventStore;
  readonly orders: EventStream<typeof Orders>;
}

async function withEvents<R>(
  schema: string,
  work: (opened: Opened) => Promise<R>,
  warn: (message: string) => void = () => undefined,
): Promise<R> {
  await using storage = await openStorage(new PostgresProvider({ dataSource: source, schema, warn }));
  const events = new EventStore(storage);
  return await work({ storage, events, orders: events.stream(Orders) });
}

/**
 * Everything behind a position; other databases of the server may hold the feed back for a moment.
 */
async function readAll(events: EventStore, after?: string) {
  const found = [];
  for (let next = after; ;) {
    const page = await events.readFeed({ streams: [Orders], after: next, limit: 50 });
    found.push(...page.events);
    next = page.next;
    if (page.upToDate && page.heldBackMs === undefined) return found;
  }
}
async function inTransaction<R>(runner: QueryRunner, work: () => Promise<R>): Promise<R> {
  await runner.startTransaction();
  const result = await work();
  await runner.commitTransaction();
  return result;
}

const short = (found: readonly { readonly stream: string; readonly version: number }[]) =>
  found.map(({ stream, version }) => `${stream}${version}`);

const feedBatch = (of: string, key: string): Batch =>
  batchOf(
    [
      {
        kind: 'put',
        address: { container: 'event:order', entity: 'b', key },
        value: { kind: 'json', text: '1' },
        ttl: 'never',
        feed: true,
      },
    ],
    [],
    of,
  );

async function exported(provider: PostgresProvider, name: string): Promise<RawRow[]> {
  const rows: RawRow[] = [];
  for await (const raw of provider.administration.export(name)) rows.push(raw);
  return rows;
}

/** The keys of the whole feed, or of what is behind a position, in pages. */
async function keysOf(provider: PostgresProvider, limit: number, from?: string): Promise<readonly string[]> {
  const keys: string[] = [];
  for (let after = from; ;) {
    const page = await provider.feed({ limit, after });
    keys.push(...page.entries.map(({ address }) => address.key));
    after = page.next;
    if (page.upToDate && page.heldBackMs === undefined) return keys;
  }
}

describe('the feed', () => {
  it('misses nothing, has nothing twice and each stream in order, with lone appends, early transactions and rollbacks', async () => {
    await withEvents('races', async ({ events, orders }) => {
      const read: string[] = [];
      let isWriting = true;
      const reader = (async () => {
        for (let next: string | undefined, isLast = false; !isLast;) {
          isLast = !isWriting;
          const page = await events.readFeed({ streams: [Orders], after: next, limit: 7 });
          read.push(...short(page.events));
          next = page.next;
          isLast &&= page.upToDate && page.heldBackMs === undefined;
        }
      })();
      const committed = new Set<string>();
      const writer = async (number: number): Promise<void> => {
        for (let round = 0; round < 25; round += 1) {
          const stream = `s${(number + round) % 3}-`;
          const inTransaction = round % 3 !== 0;
          try {
            if (!inTransaction) {
              const { version } = await orders.append(stream, placed(round), { expectedVersion: 'any' });
              committed.add(`${stream}${version}`);
              continue;
            }
            const version = await source.transaction(async (manager) => {
              await manager.query('select pg_current_xact_id()'); // it takes its id early
              await orders.append(`own${number}-${round}-`, placed(0), { expectedVersion: 'any' });
              const result = await orders
                .within(manager)
                .append(stream, placed(round), { expectedVersion: 'any' });
              if (round % 3 === 1 && round % 2 === 0) throw new RangeError('rolled back');
              return result.version;
            });
            committed.add(`${stream}${version}`);
          } catch (error) {
            if (!(error instanceof RangeError) && !isStorageError(error)) throw error;
          } finally {
            if (inTransaction && (await orders.version(`own${number}-${round}-`)) > 0)
              committed.add(`own${number}-${round}-1`);
          }
        }
      };
      await Promise.all([0, 1, 2, 3].map(writer));
      isWriting = false;
      await reader;
      expect(read.toSorted()).toEqual([...committed].toSorted());
      for (const stream of ['s0-', 's1-', 's2-']) {
        const own = read.filter((each) => each.startsWith(stream));
        expect(own).toEqual(own.map((_, index) => `${stream}${index + 1}`));
      }
    });
  });

  it('refuses an append that would stand before what it follows, and works again in a new transaction', async () => {
    await withEvents('guard', async ({ events, orders }) => {
      const append = async (early: boolean) =>
        await source.transaction(async (manager) => {
          if (early) {
            await manager.query('select pg_current_xact_id()');
            await orders.append('a', placed(1), { expectedVersion: 0 });
          }
          return await orders.within(manager).append('a', placed(2), { expectedVersion: 1 });
        });
      await expect(append(true)).rejects.toMatchObject({
        code: 'STORAGE_CONFLICT',
        retryable: true,
        effect: 'none',
        message: expect.stringContaining('run it again'),
      });
      await append(false);
      expect(short(await readAll(events))).toEqual(['a1', 'a2']);
    });
  });

  it('says for how long an open transaction has held back what stands behind it', async () => {
    await withEvents('held', async ({ events, orders }) => {
      const runner = source.createQueryRunner();
      await runner.startTransaction();
      await runner.query('select pg_current_xact_id()');
      await orders.append('a', placed(1), { expectedVersion: 0 });
      const page = await events.readFeed({ streams: [Orders] });
      await runner.rollbackTransaction();
      await runner.release();
      expect([page.events, page.upToDate]).toEqual([[], true]);
      expect(page.heldBackMs).toBeGreaterThanOrEqual(0);
      expect(short(await readAll(events, page.next))).toEqual(['a1']);
    });
  });

  it('has not reached, for a projection, what an open transaction holds back', async () => {
    await withEvents('awaited', async ({ storage, orders }) => {
      const projection = new ProjectionRunner(storage, byStream);
      const runner = source.createQueryRunner();
      try {
        await projection.start();
        await orders.append('a', placed(1), { expectedVersion: 0 });
        await projection.whenCaughtUp({ timeoutMs: 600_000 });
        await runner.startTransaction();
        await runner.query('select pg_current_xact_id()');
        const { position } = await orders.append('a', placed(2), { expectedVersion: 1 });
        const behind = { code: 'PROJECTION_BEHIND' };
        await expect(projection.whenCaughtUp({ position, timeoutMs: 0 })).rejects.toMatchObject(behind);
        await expect(projection.whenCaughtUp({ timeoutMs: 0 })).rejects.toMatchObject(behind);
        await runner.rollbackTransaction();
        await projection.whenCaughtUp({ position, timeoutMs: 600_000 });
        expect((await projection.store(LastOrder).get('a'))?.value).toEqual({ n: 2 });
        await projection.whenCaughtUp({ timeoutMs: 600_000 });
      } finally {
        if (runner.isTransactionActive) await runner.rollbackTransaction();
        await runner.release();
        await projection.stop();
      }
    });
  });

  it('has reached, for a projection, the position of an event that has left the feed', async () => {
    await withEvents('gone', async ({ storage, orders }) => {
      const projection = new ProjectionRunner(storage, byStream);
      await projection.start();
      await orders.append('a', placed(1), { expectedVersion: 0 });
      await projection.whenCaughtUp({ timeoutMs: 600_000 });
      await projection.stop();
      const { position } = await orders.append('a', placed(2), { expectedVersion: 1 });
      await asAdmin(database.url, (client) =>
        client.query("delete from gone.row where entity = 'a' and feed_sequence is not null"),
      );
      await new ProjectionRunner(storage, byStream).whenCaughtUp({ position, timeoutMs: 600_000 });
    });
  });

  it('goes on after a dump was restored into a server whose transactions count from the beginning', async () => {
    const last = await withEvents('dumped', async ({ orders, events }) => {
      await orders.append('a', placed(1), { expectedVersion: 0 });
      return (await readAll(events)).at(-1)?.position;
    });
    // as if the ids of this server's transactions had been higher
    await asAdmin(database.url, async (client) => {
      await client.query(
        'update dumped.row set feed_transaction = feed_transaction + 1000000 where feed_sequence > 0',
      );
    });
    await withEvents('dumped', async ({ orders, events }) => {
      const { position = '' } = await orders.append('a', placed(2), { expectedVersion: 1 });
      const found = await readAll(events, last);
      expect(short(found)).toEqual(['a1', 'a2']);
      expect(position > (found[0]?.position ?? position)).toBe(true);
    });
  });

  it('has what later transactions of a query runner append behind what was imported since its first one', async () => {
    const provider = new PostgresProvider({ dataSource: source, schema: 'imported' });
    await using storage = await openStorage(provider);
    const events = new EventStore(storage);
    const orders = events.stream(Orders);
    const runner = source.createQueryRunner();
    const kept = await inTransaction(runner, async () => {
      const within = orders.within(runner.manager);
      await within.append('a', placed(1), { expectedVersion: 0 });
      return within;
    });
    const address = { container: 'event:order', entity: 'b', key: 'imported' };
    const row = { version: versionSource()(), updatedAt: 1, position: feedPositionOf(2n ** 40n, 1) } as const;
    await provider.administration.import('shared', [
      { ...address, row: { ...row, value: { kind: 'json', text: '1' } } },
    ]);
    const { next } = await provider.feed({ limit: 10 });
    await inTransaction(runner, async () => {
      await kept.append('a', placed(2), { expectedVersion: 1 });
      await orders.within(runner.manager).append('a', placed(3), { expectedVersion: 2 });
    });
    await runner.release();
    expect(short(await readAll(events, next))).toEqual(['a2', 'a3']);
  });

  describe('of a process that runs while another one imports rows from further ahead', () => {
    const ahead: RawRow = {
      container: 'event:order',
      entity: 'imported',
      key: '!n1b1',
      row: {
        version: '7',
        updatedAt: 1,
        value: { kind: 'json', text: '{"type":"placed","data":{"n":1}}' },
        position: feedPositionOf(2n ** 40n, 1),
      },
    };
    interface Processes {
      readonly running: Opened & { readonly provider: PostgresProvider };
      readonly importer: PostgresProvider;
      /** Waits until something waits for the table. */
      readonly waits: (mode: string) => Promise<void>;
    }
    async function withBoth(schema: string, work: (processes: Processes) => Promise<void>): Promise<void> {
      const provider = new PostgresProvider({ dataSource: source, schema });
      await using storage = await openStorage(provider);
      const events = new EventStore(storage);
      const importer = new PostgresProvider({ url: database.url, schema, lockTimeoutMs: 20_000 });
      const waits = async (mode: string): Promise<void> =>
        await until(`something waits with ${mode}`, async () => {
          const waiting = await source.query<readonly unknown[]>(
            'select from pg_locks where relation = $1::regclass and mode = $2 and not granted',
            [`${schema}.row`, mode],
          );
          return waiting.length > 0;
        });
      await opened(importer, () =>
        work({ running: { provider, storage, events, orders: events.stream(Orders) }, importer, waits }),
      );
    }
    const toEnd = async (provider: PostgresProvider): Promise<string> => {
      for (let next: string | undefined; ;) {
        const page = await provider.feed({ limit: 10, ...(next !== undefined && { after: next }) });
        next = page.next;
        if (page.upToDate && page.heldBackMs === undefined) return next;
      }
    };

    it('has its later appends behind them, alone, many at once and in a transaction', async () => {
      await withBoth('behind', async ({ running: { events, orders, provider }, importer }) => {
        await orders.append('a', placed(1), { expectedVersion: 0 });
        await importer.administration.import('shared', [ahead]);
        const next = await toEnd(importer);
        await orders.append('a', placed(2), { expectedVersion: 1 });
        await importer.administration.import('tenant:other', [
          { ...ahead, row: { ...ahead.row, position: feedPositionOf(2n ** 41n, 1) } },
        ]);
        await Promise.all(['b', 'c', 'd'].map((id) => orders.append(id, placed(1), { expectedVersion: 0 })));
        await source.transaction('REPEATABLE READ', async (manager) => {
          const within = orders.within(manager);
          await within.append('a', placed(3), { expectedVersion: 2 });
          await within.append('a', [placed(4)[0], placed(5)[0]], { expectedVersion: 3 });
        });
        const found = short(await readAll(events, next));
        expect(found.toSorted()).toEqual(['a2', 'a3', 'a4', 'a5', 'b1', 'c1', 'd1']);
        expect(found.slice(-3)).toEqual(['a3', 'a4', 'a5']);
        expect(short(await readAll(events)).slice(0, 1)).toEqual(['a1']);
        expect(await keysOf(provider, 3)).toHaveLength(10);
      });
    });

    it('has what a statement of the general path puts there behind them', async () => {
      await withBoth('general', async ({ running: { provider }, importer }) => {
        await importer.administration.import('shared', [ahead]);
        const next = await toEnd(importer);
        const results = await provider.commit([feedBatch('tenant:a', 'x'), feedBatch('tenant:b', 'y')]);
        expect(results).toMatchObject([{ outcome: 'committed' }, { outcome: 'committed' }]);
        expect((await keysOf(importer, 10, next)).toSorted()).toEqual(['x', 'y']);
      });
    });

    it('shows it the imported rows, and what others append behind them', async () => {
      await withBoth('shown', async ({ running: { provider, orders }, importer }) => {
        await orders.append('a', placed(1), { expectedVersion: 0 });
        const next = await toEnd(provider);
        await importer.administration.import('shared', [ahead]);
        await importer.commit([feedBatch('shared', 'later')]);
        expect(await keysOf(provider, 10, next)).toEqual([ahead.key, 'later']);
      });
    });

    it('waits for a transaction that has appended; what waits for the import stands behind the rows', async () => {
      await withBoth('open', async ({ running: { events, orders, provider }, importer, waits }) => {
        const runner = source.createQueryRunner();
        let imported: Promise<number> = Promise.resolve(0);
        let lone: Promise<unknown> = Promise.resolve();
        const from = await toEnd(provider);
        try {
          await inTransaction(runner, async () => {
            const within = orders.within(runner.manager);
            await within.append('a', placed(1), { expectedVersion: 0 });
            imported = importer.administration.import('shared', [ahead]);
            await waits('ShareRowExclusiveLock');
            lone = orders.append('b', placed(1), { expectedVersion: 0 });
            await waits('RowExclusiveLock');
            expect((await importer.feed({ limit: 10, after: from })).entries).toEqual([]);
            await within.append('a', placed(2), { expectedVersion: 1 });
          });
          expect(await imported).toBe(1);
          await lone;
          expect(short(await readAll(events))).toEqual(['a1', 'a2', 'imported1', 'b1']);
        } finally {
          await Promise.allSettled([imported, lone]);
          await runner.release();
        }
      });
    });

    it('refuses an import for which a transaction is open for too long, and has written nothing', async () => {
      await withBoth('refused', async ({ running: { events, orders } }) => {
        const importer = new PostgresProvider({ url: database.url, schema: 'refused', lockTimeoutMs: 1 });
        const imports = async (): Promise<number> => await importer.administration.import('shared', [ahead]);
        await opened(importer, async () => {
          await source.transaction(async (manager) => {
            await orders.within(manager).append('a', placed(1), { expectedVersion: 0 });
            await expect(imports()).rejects.toMatchObject({
              code: 'STORAGE_UNAVAILABLE',
              effect: 'none',
              message: expect.stringContaining('lockTimeoutMs'),
            });
          });
          expect(short(await readAll(events))).toEqual(['a1']);
          expect(await imports()).toBe(1);
        });
      });
    });
  });

  it('has each event once and each stream in order, after a backup with a position that is too large was restored twice', async () => {
    const evil = { container: 'event:order', entity: 'a', key: '!n1b1' };
    const row = {
      version: '7',
      updatedAt: 1,
      value: { kind: 'json', text: '{"t":"placed","d":{"n":1}}' },
    } as const;
    const position = feedPositionOf(2n ** 61n + 7n, 1);
    const restored: RawRow[][] = [];
    for (const schema of ['restored1', 'restored2']) {
      const provider = new PostgresProvider({ dataSource: source, schema });
      await opened(provider, async () => {
        const rows = restored.at(-1) ?? [{ ...evil, row: { ...row, position } }];
        await provider.administration.import('tenant:evil', rows);
        if (restored.length === 0)
          for (const key of ['b', 'c', 'd']) await provider.commit([feedBatch('tenant:evil', key)]);
        expect(await keysOf(provider, 1)).toEqual(['!n1b1', 'b', 'c', 'd']);
        restored.push(await exported(provider, 'tenant:evil'));
      });
    }
    expect(restored[1]).toHaveLength(4);
  });

  it('has a stream in order that came from a server with higher ids of transactions, and whose positions are taken in part', async () => {
    const provider = new PostgresProvider({ dataSource: source, schema: 'higher' });
    const at = (key: string, second: number, entity = 'a'): RawRow => ({
      container: 'event:order',
      entity,
      key,
      row: {
        version: '7',
        updatedAt: 1,
        value: { kind: 'json', text: '1' },
        position: feedPositionOf(2n ** 60n, second),
      },
    });
    await opened(provider, async () => {
      await provider.administration.import('tenant:a', [at('taken', 2)]);
      const rows = [at('b1', 1), at('b2', 2), at('b3', 3)];
      await provider.administration.import('tenant:b', [...rows, at('c1', 4, 'c'), at('c2', 4, 'c')]);
      await provider.commit([feedBatch('tenant:b', 'later')]);
      expect(await keysOf(provider, 1)).toEqual(['b1', 'taken', 'c1', 'b2', 'b3', 'c2', 'later']);
    });
  });

  it('never has two events at one position, also of imports at the same time', async () => {
    const provider = new PostgresProvider({ dataSource: source, schema: 'imports' });
    await opened(provider, async () => {
      await provider.commit([feedBatch('tenant:a', 'one'), feedBatch('tenant:a', 'two')]);
      const rows = await exported(provider, 'tenant:a');
      await provider.administration.drop('tenant:a');
      const holder = source.createQueryRunner();
      await holder.startTransaction();
      await holder.query(`select pg_advisory_xact_lock(hashtextextended('kvent:import:"imports"."row"', 0))`);
      const imports = ['tenant:a', 'tenant:b'].map(
        async (name) => await provider.administration.import(name, rows),
      );
      try {
        await until('both imports wait for each other', async () => {
          const waiting = (await holder.query(
            `select 1 from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())`,
          )) as readonly unknown[];
          return waiting.length === 2;
        });
      } finally {
        await holder.commitTransaction();
        await holder.release();
      }
      await Promise.all(imports);
      expect((await keysOf(provider, 1)).toSorted()).toEqual(['one', 'one', 'two', 'two']);
    });
  });

  it('warns of events at positions that are too large, and appends again after the repair of the guide', async () => {
    await withEvents('tampered', async ({ orders }) => {
      await orders.append('b', [...placed(1), ...placed(2)], { expectedVersion: 0 });
      await orders.append('a', placed(1), { expectedVersion: 0 });
    });
    // as an older version has imported it, and raised the base to it
    await asAdmin(database.url, async (client) => {
      await client.query(`update tampered.row set feed_transaction = 9223372036854775807 where entity = 'b';
        select setval('tampered.row_feed_base', 9223372036854775807, false)`);
    });
    const warnings: string[] = [];
    await withEvents(
      'tampered',
      async ({ orders }) => {
        await expect(orders.append('a', placed(2), { expectedVersion: 1 })).rejects.toMatchObject({
          code: 'INVALID_VALUE',
        });
      },
      (message) => warnings.push(message),
    );
    expect(warnings).toEqual([expect.stringContaining('Positions that are too large')]);
    const [, repair = ''] = /```text\n(begin;\nlock table[^`]*)```/.exec(guide) ?? [];
    await asAdmin(database.url, async (client) => {
      await client.query(repair.replaceAll('kvent.', 'tampered.'));
    });
    await withEvents(
      'tampered',
      async ({ orders, events }) => {
        await orders.append('a', placed(2), { expectedVersion: 1 });
        await orders.append('b', placed(3), { expectedVersion: 2 });
        expect(short(await readAll(events))).toEqual(['a1', 'b1', 'b2', 'a2', 'b3']);
      },
      (message) => warnings.push(message),
    );
    expect(warnings).toHaveLength(1);
  });

  it('does not count on from an event at a position that is too large', async () => {
    await withEvents('forged', async ({ orders }) => {
      await orders.append('a', placed(1), { expectedVersion: 0 });
    });
    await asAdmin(database.url, async (client) => {
      await client.query(`update forged.row set feed_transaction = 4611686018427387904 where entity = 'a'`);
    });
    const warnings: string[] = [];
    await withEvents(
      'forged',
      async ({ orders }) => {
        const { position = '' } = await orders.append('b', placed(1), { expectedVersion: 0 });
        expect(position < '1').toBe(true);
      },
      (message) => warnings.push(message),
    );
    expect(warnings).toEqual([expect.stringContaining('4611686018427387904')]);
  });

  it('gives the events of an older table positions in the order of their times, in pages, and reports it', async () => {
    await withEvents('older', async ({ orders }) => {
      await orders.append('b', [...placed(1), ...placed(2)], { expectedVersion: 0 });
      await orders.append('a', placed(1), { expectedVersion: 0 });
      await orders.append('b', placed(3), { expectedVersion: 2 });
    });
    await asAdmin(database.url, async (client) => {
      await client.query(`alter table older.row drop column feed_transaction, drop column feed_sequence;
        drop sequence older.row_feed_seq, older.row_feed_base;
        delete from older.kvent_migrations where name like 'KventFeed%';
        update older.row set updated_at = '2020-01-02' where entity = 'a';
        update older.row set updated_at = '2020-01-01' where entity = 'b' and key < (select max(key) from older.row where entity = 'b');
        update older.row set updated_at = '2020-01-03' where entity = 'b' and key = (select max(key) from older.row where entity = 'b')`);
    });
    const warnings: string[] = [];
    await withEvents(
      'older',
      async ({ orders, events }) => {
        await orders.append('a', placed(2), { expectedVersion: 1 });
        expect(short(await readAll(events))).toEqual(['b1', 'b2', 'a1', 'b3', 'a2']);
      },
      (message) => warnings.push(message),
    );
    expect(warnings).toEqual([expect.stringContaining('4 stored events have got their positions')]);
    await withEvents('older', async ({ events }) => {
      expect((await readAll(events)).length).toBe(5);
    });
  });
});
