/**
 * Work that takes longer than `requestTimeoutMs`: a migration has no limit, a drop goes in pages.
 */
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { until } from '../postgres/until.js';
import { opened, textAt, write } from './rows.js';

let database: FreshDatabase;
beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(async () => await database[Symbol.asyncDispose]());

it('an instance waits for one that migrates for longer than requestTimeoutMs', async () => {
  await asAdmin(database.url, async (other) => {
    await other.query(`select pg_advisory_lock(hashtextextended('kvent:slow', 0))`);
    const late = new PostgresProvider({ url: database.url, schema: 'slow', requestTimeoutMs: 4000 });
    const opening = late.open();
    opening.catch(() => undefined);
    await until(
      'it has waited for longer',
      async () => {
        const { rowCount } = await other.query(
          `select from pg_stat_activity where wait_event = 'advisory' and datname = current_database()
        and clock_timestamp() - query_start > interval '5 s'`,
        );
        return rowCount === 1;
      },
      120_000,
    ).finally(() => void other.query('select pg_advisory_unlock_all()'));
    await opening;
    await write(late, 'key', '1');
    expect(await textAt(late, 'key')).toBe('1');
    await late.close();
  });
});

it('a migration that waits for a long reader holds up no other call, and goes on after it', async () => {
  const url = database.url;
  const schema = 'read';
  const earlier = new PostgresProvider({ url, schema });
  await opened(earlier, async () => await write(earlier, 'key', '1'));
  await asAdmin(url, async (reader) => {
    await reader.query(`alter table read.row drop column feed_transaction, drop column feed_sequence;
      drop sequence read.row_feed_seq, read.row_feed_base;
      delete from read.kvent_migrations where name like 'KventFeed%'`);
    await reader.query('begin');
    await reader.query('select from read.row');
    const warnings: string[] = [];
    const late = new PostgresProvider({ url, schema, warn: (message) => void warnings.push(message) });
    const opening = late.open();
    opening.catch(() => undefined);
    try {
      await until('it has given up once', () => warnings.length > 0);
      await asAdmin(url, async (other) => {
        await other.query(`set lock_timeout = '60 s'`);
        await other.query(`update read.row set version = version + 1`);
      });
    } finally {
      await reader.query('commit');
    }
    await opening;
    expect(warnings[0]).toContain('waits for transactions that use the table');
    await write(late, 'other', '2');
    expect([await textAt(late, 'key'), await textAt(late, 'other')]).toEqual(['1', '2']);
    await late.close();
  });
});

it('a drop deletes a bounded number of rows in a statement, and a repeated one ends what was cut short', async () => {
  const provider = new PostgresProvider({ url: database.url });
  await opened(provider, async () => {
    await asAdmin(database.url, async (admin) => {
      const rowsOf = async (tenant: string): Promise<number> =>
        (await admin.query('select from kvent.row where database = $1', [tenant])).rowCount ?? 0;
      await admin.query(`insert into kvent.row (database, container, entity, key, version, updated_at, value)
        select t, 'state:state', 's', lpad(i::text, 5, '0'), i, now(), '1' from generate_series(1, 12000) i, unnest(array['tenant:big', 'tenant:other']) t;
        create table public.deleted (at serial, rows int);
        create function public.note() returns trigger language plpgsql as $$
        begin insert into public.deleted (rows) select count(*) from gone; return null; end $$;
        create trigger note after delete on kvent.row referencing old table as gone for each statement execute function public.note();
        create function public.refuse() returns trigger language plpgsql as $$ begin raise exception 'not now'; end $$;
        create trigger refuse before delete on kvent.row for each row when (old.key = '07000') execute function public.refuse()`);
      await expect(provider.administration.drop('tenant:big')).rejects.toMatchObject({
        code: 'STORAGE_UNAVAILABLE',
      });
      expect(await rowsOf('tenant:big')).toBe(7000);
      await admin.query('drop trigger refuse on kvent.row');
      expect(await provider.administration.drop('tenant:big')).toBe(true);
      expect(await rowsOf('tenant:big')).toBe(0);
      expect(await provider.administration.drop('tenant:big')).toBe(false);
      expect(await rowsOf('tenant:other')).toBe(12_000);
      const { rows } = await admin.query<{ rows: number }>('select rows from public.deleted order by at');
      expect(rows.map((each) => each.rows)).toEqual([5000, 5000, 2000, 0]);
    });
  });
});

it.each([3, 6_000])('a drop of %i rows, of which a trigger leaves some out, is refused', async (count) => {
  const provider = new PostgresProvider({ url: database.url, schema: `kept_${count}` });
  await opened(provider, async () => {
    await asAdmin(database.url, async (admin) => {
      const table = `kept_${count}.row`;
      const left = async (): Promise<number> => (await admin.query(`select from ${table}`)).rowCount ?? 0;
      await admin.query(`insert into ${table} (database, container, entity, key, version, updated_at, value)
        select 'tenant:kept', 'state:state', 's', lpad(i::text, 5, '0'), i, now(), '1' from generate_series(1, ${count}) i;
        create function kept_${count}.keep() returns trigger language plpgsql as $$ begin return null; end $$;
        create trigger keep before delete on ${table} for each row execute function kept_${count}.keep()`);
      await expect(provider.administration.drop('tenant:kept')).rejects.toMatchObject({
        code: 'STORAGE_UNAVAILABLE',
        retryable: false,
        message: expect.stringContaining('left out'),
      });
      expect(await left()).toBe(count);
      await admin.query(`drop trigger keep on ${table}`);
      expect(await provider.administration.drop('tenant:kept')).toBe(true);
      expect(await left()).toBe(0);
    });
  });
});

it('a drop beside another one is no refusal', async () => {
  const provider = new PostgresProvider({ url: database.url, schema: 'twice' });
  await opened(provider, async () => {
    await asAdmin(database.url, async (admin) => {
      await admin.query(`insert into twice.row (database, container, entity, key, version, updated_at, value)
        select 'tenant:twice', 'state:state', 's', lpad(i::text, 5, '0'), i, now(), '1' from generate_series(1, 6000) i`);
      const drops = await asAdmin(database.url, async (holder) => {
        await holder.query(`begin; delete from twice.row where key < '03000'`);
        const both = [1, 2].map(async () => await provider.administration.drop('tenant:twice'));
        await until('both drops wait', async () => {
          const { rowCount } = await admin.query(
            `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
          );
          return rowCount === 2;
        });
        await holder.query('commit');
        return both;
      });
      expect(await Promise.all(drops)).toContain(true);
      expect((await admin.query('select from twice.row')).rowCount).toBe(0);
    });
  });
});
