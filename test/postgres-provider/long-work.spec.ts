/**
 * Work that takes longer than `requestTimeoutMs`: a migration has no limit, a drop goes in pages.
 */
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { storageError, type RawRow } from '@kvent/key-value-storage/provider';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { until } from '../postgres/until.js';
import { addressOf, opened, textAt, write } from './rows.js';

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
        effect: 'unknown',
        done: 5000,
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

it('an import and a sweep that fail in the middle have the number of rows that are done', async () => {
  const provider = new PostgresProvider({ url: database.url, schema: 'partly' });
  await opened(provider, async () => {
    await asAdmin(database.url, async (admin) => {
      async function* rows(): AsyncGenerator<RawRow> {
        for (let index = 0; index < 1_500; index += 1)
          yield {
            ...addressOf(String(index)),
            row: { version: '1', value: { kind: 'json', text: '1' }, updatedAt: 1 },
          };
        throw storageError('STORAGE_CORRUPT', 'A row is damaged.', { place: 'row 1500' });
      }
      await expect(provider.administration.import('tenant:a', rows())).rejects.toMatchObject({
        code: 'STORAGE_CORRUPT',
        place: 'row 1500',
        effect: 'unknown',
        done: 1_000,
      });
      const { rowCount } = await admin.query('select from partly.row');
      expect(rowCount).toBe(1_000);
      // the first statement of a sweep takes the ghosts too, and the second one is refused
      await admin.query(`update partly.row set expires_at = now() - interval '1 h';
        update partly.row set value = null where key < '2';
        create function partly.refuse() returns trigger language plpgsql as $$ begin raise exception 'not now'; end $$;
        create trigger refuse before delete on partly.row for each row when (old.key = '999') execute function partly.refuse();
        update partly.row set expires_at = now() - interval '1 m' where key = '999'`);
      await expect(provider.sweep(999)).rejects.toMatchObject({ effect: 'unknown', done: 887 });
    });
  });
});

it('a sweep goes on behind expired rows that a trigger keeps, and comes back to them', async () => {
  const provider = new PostgresProvider({ url: database.url, schema: 'swept' });
  await opened(provider, async () => {
    await asAdmin(database.url, async (admin) => {
      const rows = Array.from({ length: 60 }, (_, index) => ({
        ...addressOf(String(index)),
        row: { version: '1', value: { kind: 'json', text: '1' } as const, updatedAt: 1 },
      }));
      await provider.administration.import('tenant:a', rows);
      const left = async (): Promise<number> => (await admin.query('select from swept.row')).rowCount ?? 0;
      // half of the kept rows expired at one moment
      await admin.query(`update swept.row set expires_at = now() - interval '1 h' + greatest(key::int, 20) * interval '1 s';
        create function swept.keep() returns trigger language plpgsql as $$ begin return case when old.key::int < 40 then null else old end; end $$;
        create trigger keep before delete on swept.row for each row execute function swept.keep()`);
      expect(await provider.sweep(10)).toBe(10);
      expect(await left()).toBe(50);
      expect(await provider.sweep(7)).toBe(7);
      expect(await provider.sweep(1_000)).toBe(3);
      expect(await provider.sweep(10)).toBe(0);
      expect(await left()).toBe(40);
      await admin.query('drop trigger keep on swept.row');
      expect(await provider.sweep(15)).toBe(15);
      expect(await provider.sweep(1_000)).toBe(25);
      expect(await left()).toBe(0);
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
