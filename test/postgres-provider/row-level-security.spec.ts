/**
 * Row-level security as a second protection: what the server refuses for any statement. The role of
 * these connections owns the table and cannot bypass its policies. The contract runs with row-level
 * security in test/contract (`postgres-row-level-security`).
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { kventMigrations, PostgresProvider } from '@kvent/key-value-postgres';
import type { RawRow } from '@kvent/key-value-storage/provider';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { asAdmin, freshDatabase, roleWithoutBypass, type FreshDatabase } from '../postgres/databases.js';
import { addressOf, batchOf, commitOne, opened, putBatch, textAt, write } from './rows.js';

const [acme, globex] = ['tenant:acme', 'tenant:globex'] as const;

let database: FreshDatabase;
let url: string;
let role: string;
let source: DataSource;
const sources: DataSource[] = [];
beforeAll(async () => {
  database = await freshDatabase();
  role = `bound_${new URL(database.url).pathname.slice(-12)}`;
  url = await roleWithoutBypass(database.url, role, 'kvent');
  await opened(new PostgresProvider({ url, rowLevelSecurity: true }), async () => await Promise.resolve());
  // One connection, which every call reuses.
  source = await connected({ max: 1 });
});
afterEach(async () => {
  await asAdmin(database.url, async (client) => await client.query('truncate kvent.row'));
});
afterAll(async () => {
  for (const each of sources) await each.destroy();
  await asAdmin(
    database.url,
    async (client) => await client.query(`drop owned by ${role} cascade; drop role ${role}`),
  );
  await database[Symbol.asyncDispose]();
});

async function connected(extra: object, to = url): Promise<DataSource> {
  const created = await new DataSource({ type: 'postgres', url: to, extra }).initialize();
  sources.push(created);
  return created;
}

/** Runs `work` on a provider with one connection, after each tenant has got a row. */
async function withRows(work: (provider: PostgresProvider) => Promise<void>): Promise<void> {
  const provider = new PostgresProvider({ dataSource: source, rowLevelSecurity: true });
  await opened(provider, async () => {
    await write(provider, 'key', '"of acme"', acme);
    await write(provider, 'key', '"of globex"', globex);
    await work(provider);
  });
}

const visibleDatabases = async (
  query: DataSource['query'] = source.query.bind(source),
): Promise<readonly string[]> =>
  (await query<{ database: string }[]>('select database from kvent.row order by 1')).map(
    (row) => row.database,
  );
const insert = (into: string): string =>
  `insert into kvent.row (version, updated_at, database, container, entity, key, value) values (1, now(), '${into}', 'c', 'e', 'k', '1')`;

describe('raw SQL by the role of the application', () => {
  it('sees no row and stores none without the setting', async () => {
    await withRows(async () => {
      expect(await visibleDatabases()).toEqual([]);
      expect(await source.query('update kvent.row set number = 1 returning 1')).toEqual([[], 0]);
      expect(await source.query('delete from kvent.row returning 1')).toEqual([[], 0]);
      await expect(source.query(insert(acme))).rejects.toMatchObject({ driverError: { code: '42501' } });
    });
    expect(
      await asAdmin(database.url, async (client) => (await client.query('select from kvent.row')).rowCount),
    ).toBe(2);
  });

  it('sees and changes only the rows of the tenant in the setting', async () => {
    await withRows(async () => {
      await source.transaction(async (manager) => {
        const query = manager.query.bind(manager) as DataSource['query'];
        await query(`select set_config('kvent.database', '${acme}', true)`);
        expect(await visibleDatabases(query)).toEqual([acme]);
        expect(await query('update kvent.row set number = null returning 1')).toMatchObject([[{}], 1]);
        await query('savepoint s');
        await expect(query(insert(globex))).rejects.toMatchObject({ driverError: { code: '42501' } });
        await query('rollback to savepoint s');
        await expect(query(`update kvent.row set database = '${globex}'`)).rejects.toMatchObject({
          driverError: { code: '42501' },
        });
        await query('rollback to savepoint s');
      });
      expect(await visibleDatabases()).toEqual([]);
    });
  });

  it('sees only rows with an expiry with the setting of the sweep, and changes nothing with the setting of the list', async () => {
    await withRows(async (provider) => {
      const { container, entity, key } = addressOf('session');
      const put = {
        kind: 'put',
        address: { container, entity, key },
        value: { kind: 'json', text: '1' },
        ttl: 60_000,
      } as const;
      await commitOne(provider, batchOf([put], [], globex));
      await source.transaction(async (manager) => {
        const query = manager.query.bind(manager) as DataSource['query'];
        await query(`select set_config('kvent.work', 'sweep', true)`);
        expect(await query('select key from kvent.row')).toEqual([{ key: 'session' }]);
        await query('savepoint s');
        for (const change of [insert(acme), 'update kvent.row set number = 1']) {
          await expect(query(change)).rejects.toMatchObject({ driverError: { code: '42501' } });
          await query('rollback to savepoint s');
        }
        await query(`select set_config('kvent.work', 'list', true)`);
        expect(await visibleDatabases(query)).toEqual([acme, globex, globex]);
        expect(await query('delete from kvent.row returning 1')).toEqual([[], 0]);
        await expect(query(insert(acme))).rejects.toMatchObject({ driverError: { code: '42501' } });
        await query('rollback to savepoint s');
      });
    });
  });
});

describe('a provider whose statements name another database', () => {
  /** Simulates a bug: every statement gets the parameters of globex instead of acme. */
  async function withWrongTenant(work: () => Promise<void>): Promise<void> {
    const prototype = pg.Client.prototype as unknown as {
      query: (query: object, ...rest: unknown[]) => unknown;
    };
    const original = prototype.query;
    prototype.query = function (query, ...rest) {
      const { values } = query as { values?: unknown[] };
      if (values !== undefined && 'submit' in query)
        (query as unknown as { values: unknown[] }).values = values.map((value): unknown => {
          if (value === acme) return globex;
          const { values: texts } = (value ?? {}) as { readonly values?: readonly string[] };
          return texts?.includes(acme) === true
            ? (Object.create(value as object, {
                values: { value: texts.map((text) => (text === acme ? globex : text)) },
              }) as unknown)
            : value;
        });
      return original.call(this, query, ...rest);
    };
    try {
      await work();
    } finally {
      prototype.query = original;
    }
  }

  it('reads nothing, lists nothing, deletes nothing and stores nothing', async () => {
    await withRows(async (provider) => {
      await withWrongTenant(async () => {
        expect(await textAt(provider, 'key', acme)).toBeUndefined();
        expect((await provider.read(['key', 'other'].map((key) => addressOf(key, acme)))).rows).toEqual([
          undefined,
          undefined,
        ]);
        const range = { ...addressOf('', acme), limit: 10 };
        expect((await provider.scan([range]))[0]?.rows).toEqual([]);
        expect(await provider.administration.spaces(acme)).toEqual([]);
        expect(await provider.administration.count?.(acme)).toBe(0);
        expect(await all(provider.administration.export(acme))).toEqual([]);
        expect(await provider.administration.drop(acme)).toBe(false);
        await expect(commitOne(provider, putBatch('new', '1', undefined, acme))).rejects.toMatchObject({
          effect: 'none',
        });
        await expect(commitOne(provider, putBatch('key', '1', undefined, acme))).rejects.toMatchObject({
          effect: 'none',
        });
        await source.transaction(async (manager) => {
          expect(await textAt(provider.within(manager), 'key', acme)).toBeUndefined();
        });
      });
      expect(await textAt(provider, 'key', acme)).toBe('"of acme"');
      expect(await textAt(provider, 'key', globex)).toBe('"of globex"');
      expect(await textAt(provider, 'new', globex)).toBeUndefined();
    });
  });
});

describe('the setting', () => {
  it('is reset on the connection after each call, whether it succeeds or fails', async () => {
    await withRows(async (provider) => {
      const failing = batchOf([], [], acme);
      const bad = { ...putBatch('bad', 'no JSON', undefined, acme) };
      for (const call of [
        async () => await provider.read([addressOf('key', acme)]),
        async () => await provider.commit([failing]),
        async () => await provider.commit([bad]),
        async () => await provider.sweep(10),
        async () => await provider.administration.databases(),
        async () => await all(provider.administration.export(acme)),
        async () => await provider.administration.import(acme, []),
        async () => await provider.administration.drop('tenant:none'),
      ]) {
        await call();
        expect(
          await source.query(
            `select coalesce(current_setting('kvent.database', true), '') d, coalesce(current_setting('kvent.work', true), '') w`,
          ),
        ).toEqual([{ d: '', w: '' }]);
        expect(await visibleDatabases()).toEqual([]);
      }
    });
  });

  it('is prepared once per connection, also if the first statement fails', async () => {
    const fresh = await connected({ max: 1 });
    const provider = new PostgresProvider({ dataSource: fresh, rowLevelSecurity: true });
    await opened(provider, async () => {
      expect(await provider.commit([putBatch('bad', 'no JSON', undefined, acme)])).toMatchObject([
        { error: { code: 'INVALID_VALUE' } },
      ]);
      await write(provider, 'key', '1', acme);
      expect(await textAt(provider, 'key', acme)).toBe('1');
      const prepared = await fresh.query<object[]>(
        `select from pg_prepared_statements where name like 'kvent\\_scope\\_%'`,
      );
      expect(prepared.length).toBe(1);
    });
  });

  it('does not count a statement as prepared that the server could not parse', async () => {
    const fresh = await connected({ max: 1, options: '-c lock_timeout=50' });
    const provider = new PostgresProvider({ dataSource: fresh, rowLevelSecurity: true });
    await opened(provider, async () => {
      await write(provider, 'key', '1', acme);
      // the next statement is the first of another connection, and so is its setting
      await expect(fresh.query('select pg_terminate_backend(pg_backend_pid())')).rejects.toThrow();
      await asAdmin(database.url, async (admin) => {
        await admin.query('begin; lock table kvent.row in access exclusive mode');
        await expect(textAt(provider, 'key', acme)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
        await admin.query('rollback');
      });
      const [before] = await fresh.query<object[]>('select pg_backend_pid()');
      await expect(textAt(provider, 'key', acme)).resolves.toBe('1');
      expect(await fresh.query('select pg_backend_pid()')).toEqual([before]);
    });
  });

  it('is restored within a transaction of the application, also if a batch fails or is rolled back', async () => {
    await withRows(async (provider) => {
      await source.transaction(async (manager) => {
        const query = manager.query.bind(manager) as DataSource['query'];
        const within = provider.within(manager);
        expect(await textAt(within, 'key', globex)).toBe('"of globex"');
        expect(await visibleDatabases(query)).toEqual([]);
        await query(`select set_config('kvent.database', '${acme}', true)`);
        await write(within, 'two', '1', globex);
        expect(await textAt(within, 'two', globex)).toBe('1');
        expect(await visibleDatabases(query)).toEqual([acme]);
        const [failed] = await within.commit([putBatch('bad', 'no JSON', 'absent', globex)]);
        expect(failed).toMatchObject({ outcome: 'failed' });
        expect(await visibleDatabases(query)).toEqual([acme]);
      });
      expect(await visibleDatabases()).toEqual([]);
      expect(await textAt(provider, 'two', globex)).toBe('1');
    });
  });

  it('is separate for each tenant in calls with several tenants', async () => {
    await withRows(async (provider) => {
      const addresses = [globex, acme, 'tenant:none', globex].map((tenant) => addressOf('key', tenant));
      const texts = (await provider.read(addresses)).rows.map((row) =>
        row?.value.kind === 'json' ? row.value.text : undefined,
      );
      expect(texts).toEqual(['"of globex"', '"of acme"', undefined, '"of globex"']);
      const results = await provider.commit(
        [globex, acme, 'tenant:new', acme].map((tenant, index) =>
          putBatch(`k${index}`, `${index}`, 'absent', tenant),
        ),
      );
      expect(results.map(({ outcome }) => outcome)).toEqual([
        'committed',
        'committed',
        'committed',
        'committed',
      ]);
      const pages = await provider.scan(
        [acme, globex].map((tenant) => ({ ...addressOf('', tenant), limit: 10 })),
      );
      expect(pages.map((page) => page.rows.map(({ key }) => key))).toEqual([
        ['k1', 'k3', 'key'],
        ['k0', 'key'],
      ]);
      expect(await provider.administration.databases()).toEqual([acme, globex, 'tenant:new']);
    });
  });
});

describe('opening', () => {
  it('is refused for a superuser and a role with BYPASSRLS, which bypass every policy', async () => {
    const provider = new PostgresProvider({ url: database.url, rowLevelSecurity: true });
    await expect(provider.open()).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringContaining('cannot bypass'),
    });
    await asAdmin(database.url, async (client) => await client.query(`alter role ${role} bypassrls`));
    try {
      await expect(new PostgresProvider({ url, rowLevelSecurity: true }).open()).rejects.toMatchObject({
        code: 'INVALID_OPTION',
      });
    } finally {
      await asAdmin(database.url, async (client) => await client.query(`alter role ${role} nobypassrls`));
    }
  });

  it('is refused if the policies are missing and the role cannot create them', async () => {
    const weak = await roleWithoutBypass(database.url, `${role}_weak`, 'other');
    await opened(new PostgresProvider({ url, table: 'plain' }), async () => await Promise.resolve());
    await asAdmin(database.url, async (client) => {
      await client.query(
        `grant usage on schema kvent to ${role}_weak; grant select, insert, update, delete on kvent.plain to ${role}_weak`,
      );
      await client.query(`grant select on kvent.kvent_migrations to ${role}_weak`);
    });
    try {
      for (const migrate of ['on-open', 'never'] as const)
        await expect(
          new PostgresProvider({ url: weak, table: 'plain', migrate, rowLevelSecurity: true }).open(),
        ).rejects.toMatchObject({
          code: 'STORAGE_UNAVAILABLE',
          retryable: false,
          message: expect.stringMatching(/cannot be migrated|not under row-level security/),
        });
    } finally {
      await asAdmin(database.url, async (client) => {
        await client.query(`drop owned by ${role}_weak cascade; drop role ${role}_weak`);
      });
    }
  });

  it('secures a table with rows once, and the migration can be reverted', async () => {
    const plain = new PostgresProvider({ url, table: 'later' });
    await opened(plain, async () => await write(plain, 'key', '1', acme));
    for (let round = 0; round < 2; round += 1) {
      const secured = new PostgresProvider({ url, table: 'later', rowLevelSecurity: true });
      await opened(secured, async () => expect(await textAt(secured, 'key', acme)).toBe('1'));
    }
    const found = await source.query<object[]>(
      `select from kvent.kvent_migrations where name like 'KventSecure%later%'`,
    );
    expect(found.length).toBe(1);
    const runner = source.createQueryRunner();
    const [, , Secure] = kventMigrations({ table: 'later', rowLevelSecurity: true });
    await new (Secure as NonNullable<typeof Secure>)().down(runner);
    await runner.release();
    expect(await source.query('select key from kvent.later')).toEqual([{ key: 'key' }]);
  });

  it('without the option still reads a secured table: a backup of it is not empty', async () => {
    await withRows(async () => {
      const unaware = new PostgresProvider({ url, migrate: 'never' });
      await opened(unaware, async () => {
        expect(await unaware.administration.databases()).toEqual([acme, globex]);
        expect((await all(unaware.administration.export(acme))).length).toBe(1);
      });
    });
  });

  it('warns about other policies, which may allow more', async () => {
    const warnings: string[] = [];
    await source.query('create policy "all of it" on kvent.row using (true)');
    try {
      const provider = new PostgresProvider({
        url,
        rowLevelSecurity: true,
        warn: (message) => warnings.push(message),
      });
      await opened(provider, async () => await Promise.resolve());
    } finally {
      await source.query('drop policy "all of it" on kvent.row');
    }
    expect(warnings).toEqual([expect.stringContaining('all of it')]);
  });

  it('is refused with pipelining, where a setting cannot belong to one statement', async () => {
    const pipelined = await connected({ max: 1, pipeline: true });
    const provider = new PostgresProvider({ dataSource: pipelined, rowLevelSecurity: true });
    await expect(provider.open()).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringContaining('pipeline'),
    });
  });
});

it('a wrapper that sends copies of statements causes an error, not a missing row', async () => {
  await withRows(async (provider) => {
    const prototype = pg.Client.prototype as unknown as {
      query: (query: object, ...rest: unknown[]) => unknown;
    };
    const original = prototype.query;
    prototype.query = function (query, ...rest) {
      return original.call(this, typeof query === 'string' ? query : { ...query }, ...rest);
    };
    try {
      await expect(provider.read([addressOf('key', acme)])).rejects.toMatchObject({
        code: 'STORAGE_UNSUPPORTED',
      });
    } finally {
      prototype.query = original;
    }
  });
});

it.each([true, false])(
  'plans use the key, with prepared statements and without: %s',
  async (preparedStatements) => {
    const provider = new PostgresProvider({ dataSource: source, rowLevelSecurity: true, preparedStatements });
    await opened(provider, async () => {
      const rows = Array.from({ length: 2_000 }, (_, index) =>
        putBatch(`key-${String(index).padStart(5, '0')}`, '1', undefined, acme),
      );
      for (let at = 0; at < rows.length; at += 200) await provider.commit(rows.slice(at, at + 200));
      await asAdmin(database.url, async (client) => await client.query('analyze kvent.row'));
      await source.transaction(async (manager) => {
        await manager.query(`select set_config('kvent.database', '${acme}', true)`);
        const plan = await manager.query<{ 'QUERY PLAN': string }[]>(
          `explain select value from kvent.row where database = '${acme}' and container = 'state:spec' and entity = 'thing' and key >= 'key-01' and key < 'key-02' order by key limit 10`,
        );
        const text = plan.map((line) => line['QUERY PLAN']).join('\n');
        expect(text).toMatch(/Index Cond: .*database = .* AND .*key >= /);
      });
    });
  },
);

async function all(rows: AsyncIterable<RawRow>): Promise<readonly RawRow[]> {
  const found: RawRow[] = [];
  for await (const row of rows) found.push(row);
  return found;
}
