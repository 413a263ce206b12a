/** `kvent` between directories and a real Postgres. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { defineState, JsonFileProvider, openStorage } from '@kvent/key-value-storage';
import { openStorefront } from '../../apps/storefront/src/storefront.js';
import { Tenants } from '../../apps/storefront/src/tenants/tenant.js';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { until } from '../postgres/until.js';
import { KventProcess, root } from './kvent.js';
import {
  acme,
  interruptMidway,
  rowsOfEveryKind,
  globex,
  leaseRow,
  lines,
  manyRows,
  withOpened,
  rawRow,
  rowsOf,
  Workspace,
} from './workspace.js';

let workspace: Workspace;
let database: FreshDatabase;

export function describePostgres(): void {
  describe('kvent on Postgres', () => {
    beforeEach(async () => {
      workspace = await Workspace.create();
      database = await freshDatabase();
    });
    afterEach(async () => {
      await workspace[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    });
    copies();
    interruptions();
    silence();
    refusals();
    unchangedSource();
  });
}

function copies(): void {
  it('copies the demo data of the shop in both directions, with equal hashes and unchanged etags', async () => {
    const directory = workspace.path('data');
    const app = await openStorefront(
      { kind: 'JSON file', description: 'under test', create: () => new JsonFileProvider({ directory }) },
      { logger: false },
    );
    await app.close();
    const etags = async (name: string): Promise<readonly string[]> => {
      await using storage = await openStorage(
        new JsonFileProvider({ directory: workspace.path(name), create: 'never' }),
      );
      const tenants = await storage.store(Tenants).page({});
      return tenants.items.map(({ key, etag }) => `${String(key)} ${etag}`);
    };

    const there = await workspace.run('copy', '--from', './data', '--to', database.url);
    const source = await workspace.rows('data');
    expect(there.databases.map(({ database: name, rows }) => [name, rows])).toEqual(
      Object.entries(source).map(([name, rows]) => [name, rows.length]),
    );
    expect(Object.keys(source)).toEqual(['shared', acme, globex]);
    const back = await workspace.run('copy', '--from', database.url, '--to', './back');
    expect({ rows: back.rows, sha256: back.sha256 }).toEqual({ rows: there.rows, sha256: there.sha256 });
    expect(back.databases.map(({ sha256 }) => sha256)).toEqual(there.databases.map(({ sha256 }) => sha256));
    expect(await workspace.rows('back')).toEqual(source);
    expect(await etags('back')).toEqual(await etags('data'));
  });

  it('imports a file, again over itself, and exports it', async () => {
    const file = workspace.path('products.jsonl');
    const keys = Array.from({ length: 2_000 }, (_, index) => `p-${String(index).padStart(4, '0')}`);
    await writeFile(file, keys.map((key) => `{"key":"${key}","value":{"key":"${key}"}}\n`).join(''));
    for (let time = 0; time < 2; time += 1)
      expect(
        await workspace.run('import', database.url, 'product', file, '--tenant', 'acme', '--write'),
      ).toMatchObject({ loaded: keys.length, failed: 0 });
    const { code, stdout } = await workspace.kvent(
      'export',
      database.url,
      'product',
      '--csv',
      '--key',
      'sku',
    );
    expect({ code, rows: stdout.trimEnd().split('\r\n') }).toEqual({
      code: 0,
      rows: ['sku,key', ...keys.map((key) => `${key},${key}`)],
    });
  });

  it('puts and removes beside an application that reads an index all the while', async () => {
    await using storage = await openStorage(new PostgresProvider({ url: database.url }));
    const indexes = { byNote: { key: ({ note }: { note: string }) => note, unique: true } };
    const slots = storage.store(defineState<{ note: string }, string, typeof indexes>('slot', { indexes }));
    await slots.set('a', { note: 'x' });
    await slots.set('b', { note: 'y' });
    const read = async (): Promise<readonly string[]> => {
      const { items } = await slots.index('byNote').page({});
      return items.map(({ key, value }) => `${key} ${value.note}`);
    };
    const whileReading = async (...args: readonly string[]): Promise<void> => {
      const process = new KventProcess([...args, '--shared', '--write'], workspace.folder);
      while (process.isRunning) await read().catch(ignoreUnready);
      expect(await process.exit).toMatchObject({ code: 0 });
    };
    expect(await read()).toEqual(['a x', 'b y']);
    await whileReading('put', database.url, 'slot', 'a', '{"note":"z"}');
    expect(await read()).toEqual(['b y', 'a z']);
    await whileReading('rm', database.url, 'slot', 'b');
    expect(await read()).toEqual(['a z']);
    await slots.set('c', { note: 'y' });
    await expect(slots.set('d', { note: 'z' })).rejects.toMatchObject({ code: 'UNIQUE_TAKEN' });
  });

  it('copies every kind of row with its version, times and exact text, but no leases', async () => {
    const rows = rowsOfEveryKind();
    await workspace.createStore('data', { [acme]: [...rows, leaseRow()] });
    const { code, stdout } = await workspace.kvent('copy', '--from', 'data', '--to', database.url);
    expect({ code, lines: lines(stdout).length }).toEqual({ code: 0, lines: 3 });
    expect(stdout).toContain('1 lease of open sessions were not copied.');
    expect(await rowsOf(new PostgresProvider({ url: database.url }))).toEqual({ [acme]: rows });
    await workspace.run('copy', '--from', database.url, '--to', 'back');
    expect(await workspace.rows('back')).toEqual({ [acme]: rows });
  });

  it('copies only one tenant, in both directions and between tables', async () => {
    const rows = [rawRow('state:state', 'a', '1')];
    await workspace.createStore('data', { [acme]: rows, [globex]: rows, shared: rows });
    await workspace.run(
      'copy',
      '--from',
      'data',
      '--to',
      database.url,
      '--tenant',
      'globex',
      '--schema',
      'one',
      '--table',
      'rows',
    );
    const one = new PostgresProvider({ url: database.url, schema: 'one', table: 'rows' });
    expect(await rowsOf(one)).toEqual({ [globex]: rows });
    await workspace.run(
      'copy',
      '--from',
      'data',
      '--to',
      database.url,
      '--schema',
      'one',
      '--table',
      'rows',
      '--resume',
    );
    const two = ['--from-schema', 'one', '--from-table', 'rows', '--schema', 'two', '--tenant', 'acme'];
    await workspace.run('copy', '--from', database.url, '--to', database.url, ...two);
    expect(await rowsOf(new PostgresProvider({ url: database.url, schema: 'two' }))).toEqual({
      [acme]: rows,
    });
    await workspace.run(
      'copy',
      '--from',
      database.url,
      '--to',
      'back',
      '--schema',
      'two',
      '--tenant',
      'acme',
    );
    expect(await workspace.rows('back')).toEqual({ [acme]: rows });
  });

  it('takes the password from PGPASSWORD if the address has none', async () => {
    await workspace.createStore('data', { [acme]: [rawRow('state:state', 'a', '1')] });
    const url = new URL(database.url);
    const password = decodeURIComponent(url.password);
    url.password = '';
    const args = ['copy', '--from', 'data', '--to', url.href];
    const { code, stderr } = await new KventProcess(args, workspace.folder, { env: { PGPASSWORD: password } })
      .exit;
    expect({ code, stderr }).toMatchObject({ code: 0 });
  });

  it('runs the commands of the guide', async () => {
    await workspace.createStore('data', {
      [acme]: rowsOfEveryKind(),
      shared: [rawRow('state:state', 'a', '1')],
    });
    const guide = await readFile(join(root, 'docs/guides/moving-data.md'), 'utf8');
    const shown = Array.from(guide.matchAll(/^npx kvent (.*)$/gm), ([, args = '']) => args.split(' '));
    expect(new Set(shown.map(([command]) => command))).toEqual(
      new Set(['copy', 'backup', 'restore', 'salvage']),
    );
    for (const args of shown) {
      const { code, stderr } = await workspace.kvent(
        ...args.map((arg) => (arg.startsWith('postgres:') ? database.url : arg)),
      );
      expect({ args, code, stderr }).toMatchObject({ code: 0 });
    }
    expect(await workspace.rows('restored')).toEqual(await workspace.rows('data'));
    expect(await workspace.rows('rescued')).toEqual(await workspace.rows('data'));
  });

  it('backs up and restores, with the same hash as a copy', async () => {
    const rows = rowsOfEveryKind();
    await workspace.createStore('data', { [acme]: rows, shared: [rawRow('state:state', 'a', '1')] });
    const { sha256 } = await workspace.run('copy', '--from', 'data', '--to', database.url);
    expect(await workspace.run('backup', '--from', database.url, '--to', 'b.jsonl.gz')).toMatchObject({
      rows: 12,
      sha256,
    });
    await using other = await freshDatabase();
    expect(await workspace.run('restore', '--from', 'b.jsonl.gz', '--to', other.url)).toMatchObject({
      rows: 12,
      sha256,
    });
    expect(await rowsOf(new PostgresProvider({ url: other.url }))).toEqual(await workspace.rows('data'));
  });
}

function ignoreUnready(error: unknown): void {
  expect(error).toMatchObject({ code: 'INDEX_NOT_READY' });
}

function interruptions(): void {
  it.each([
    ['SIGINT', 130],
    ['SIGKILL', null],
  ] as const)('a copy that %s ends is reported as unfinished and can be resumed', async (signal, code) => {
    const provider = new PostgresProvider({ url: database.url });
    const { ended, rows } = await withOpened(provider, () =>
      interruptMidway(async (count) => {
        await provider.administration.drop(acme);
        await workspace.createStore('data', { [acme]: manyRows(count) });
        await using copy = workspace.start('copy', '--from', 'data', '--to', database.url);
        await until(
          'some rows are copied',
          async () => !copy.isRunning || (await provider.administration.databases()).includes(acme),
        );
        return await copy.kill(signal);
      }),
    );
    expect(ended).toMatchObject({ code, stdout: '' });
    const refused = await workspace.kvent('copy', '--from', 'data', '--to', database.url);
    expect(refused.stderr).toContain('is an unfinished copy of JSON file data');
    expect(await workspace.run('copy', '--from', 'data', '--to', database.url, '--resume')).toMatchObject({
      rows,
    });
    expect(await rowsOf(new PostgresProvider({ url: database.url }))).toEqual(await workspace.rows('data'));
  });
}

/** From now on, a read of a value waits; what names the rows alone does not. */
async function holdValues(url: string): Promise<void> {
  await asAdmin(url, async (client) => {
    await client.query(`create function kvent.held(json) returns json immutable language plpgsql
      as $$ begin perform pg_catalog.pg_sleep(100000); return $1; end $$`);
    const { fields } = await client.query('select * from kvent.row limit 0');
    const columns = fields.map(({ name }) => (name === 'value' ? 'kvent.held(value) as value' : name));
    await client.query('alter table kvent.row rename to held_row');
    await client.query(`create view kvent.row as select ${columns.join(', ')} from kvent.held_row`);
  });
}

function silence(): void {
  it.each([
    [['export', 'URL', 'product']],
    [['export', 'URL', 'product', 'entries.jsonl']],
    [['verify', 'URL']],
    [['stats', 'URL']],
    [['backup', '--from', 'URL', '--to', 'backup.jsonl']],
    [['copy', '--from', 'URL', '--to', 'copy']],
  ])('%j ends with the first SIGINT while the server sends no row, and leaves no file', async (args) => {
    const provider = new PostgresProvider({ url: database.url });
    await withOpened(provider, async ({ administration }) => {
      await administration.import(acme, [rawRow('state:state', 'product', 'mug')]);
    });
    await holdValues(database.url);
    await using command = workspace.start(...args.map((arg) => (arg === 'URL' ? database.url : arg)));
    await asAdmin(database.url, async (client) => {
      const held = "select from pg_catalog.pg_stat_activity where wait_event = 'PgSleep'";
      await until(
        'it waits for a value',
        async () => !command.isRunning || (await client.query(held)).rowCount !== 0,
      );
    });
    const { code, stderr } = await command.kill('SIGINT');
    expect({ code, stderr }).toEqual({ code: 130, stderr: expect.stringContaining('[ABORTED, ') });
    expect((await readdir(workspace.folder)).filter((name) => name !== 'copy')).toEqual([]);
  });
}

function refusals(): void {
  it('a wrong password or a missing server is reported in one line with the code, without the password', async () => {
    await workspace.createStore('data', { [acme]: [rawRow('state:state', 'a', '1')] });
    const { port } = new URL(database.url);
    for (const url of [
      `postgres://unknown:s3cret@127.0.0.1:${port}/postgres`,
      'postgres://u:s3cret@127.0.0.1:1/db',
    ]) {
      const { code, stdout, stderr } = await workspace.kvent(
        'copy',
        '--from',
        'data',
        '--to',
        url,
        '--verbose',
        '--json',
      );
      expect({ code, first: lines(stderr)[0] }).toMatchObject({
        code: 1,
        first: expect.stringMatching(/^kvent copy: .*\[STORAGE_UNAVAILABLE, /),
      });
      expect(`${stdout}${stderr}`).not.toContain('s3cret');
    }
  });

  it('a source without a table is refused, and the table is not created', async () => {
    const { code, stderr } = await workspace.kvent('copy', '--from', database.url, '--to', 'copy');
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('[STORAGE_UNAVAILABLE, '),
    });
    const tables = await asAdmin(database.url, (client) =>
      client.query("select 1 from pg_tables where schemaname like 'kvent%'"),
    );
    expect(tables.rowCount).toBe(0);
  });

  it('two addresses of one storage are refused, also with --replace', async () => {
    await workspace.createStore('data', { [acme]: [rawRow('state:state', 'a', '1')] });
    await workspace.run('copy', '--from', 'data', '--to', database.url);
    const alias = database.url.replace(/\?|$/, '?application_name=alias&');
    const { code, stderr } = await workspace.kvent(
      'copy',
      '--from',
      database.url,
      '--to',
      alias,
      '--replace',
    );
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Source and target must not be the same storage'),
    });
    expect(await rowsOf(new PostgresProvider({ url: database.url }))).toEqual(await workspace.rows('data'));
  });
}

function unchangedSource(): void {
  it('the source does not change while it is copied: writers wait or are refused, and no row is missed', async () => {
    await workspace.createStore('data', { [acme]: manyRows() });
    await workspace.run('copy', '--from', 'data', '--to', database.url);
    await withOpened(
      new PostgresProvider({ url: database.url, lockTimeoutMs: 240_000 }),
      async (provider) => {
        let [written, running] = [0, true];
        const change = (n: number) => ({
          database: acme,
          version: String(1_000 + n),
          checks: [],
          changes: [
            {
              kind: 'put',
              address: { container: 'state:state', entity: 'late', key: String(n) },
              value: { kind: 'json', text: '1' },
              ttl: 'never',
            },
          ] as const,
        });
        const writer = (async () => {
          for (let last = false; !last;) {
            last = !running; // one more after the copy
            const [result] = await provider.commit([change(written)]);
            if (result?.outcome === 'committed') written += 1;
            await setImmediate();
          }
        })();
        const report = await workspace
          .run('copy', '--from', database.url, '--to', 'copy')
          .finally(() => (running = false));
        await writer;
        const late = (await workspace.rows('copy'))[acme]?.filter(({ entity }) => entity === 'late') ?? [];
        expect(report.rows).toBe(8_000 + late.length);
        expect(written).toBeGreaterThan(late.length);
      },
    );
  });
}
