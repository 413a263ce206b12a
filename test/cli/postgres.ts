/** `kvent` between directories and a real Postgres. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { JsonFileProvider, openStorage } from '@kvent/key-value-storage';
import { openStorefront } from '../../apps/storefront/src/storefront.js';
import { Tenants } from '../../apps/storefront/src/tenants/tenant.js';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { until } from '../postgres/until.js';
import { KventProcess, root } from './kvent.js';
import {
  acme,
  endInTheMiddle,
  everyKind,
  globex,
  lease,
  lines,
  many,
  opened,
  raw,
  rowsOf,
  Workplace,
} from './workplace.js';

let place: Workplace;
let database: FreshDatabase;

export function postgres(): void {
  describe('kvent on Postgres', () => {
    beforeEach(async () => {
      place = await Workplace.create();
      database = await freshDatabase();
    });
    afterEach(async () => {
      await place[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    });
    moves();
    interruptions();
    refusals();
    frozen();
  });
}

function moves(): void {
  it('moves the demo data of the shop there and back: with equal hashes, and the etags that clients hold', async () => {
    const directory = place.path('data');
    const app = await openStorefront(
      { description: 'under test', create: () => new JsonFileProvider({ directory }) },
      false,
    );
    await app.close();
    const etags = async (name: string): Promise<readonly string[]> => {
      await using storage = await openStorage(
        new JsonFileProvider({ directory: place.path(name), create: 'never' }),
      );
      const tenants = await storage.store(Tenants).page({});
      return tenants.items.map(({ key, etag }) => `${String(key)} ${etag}`);
    };

    const there = await place.told('copy', '--from', './data', '--to', database.url);
    expect(there.databases.map(({ database: name, rows }) => [name, rows])).toEqual([
      ['shared', 2],
      [acme, 266],
      [globex, 9],
    ]);
    const back = await place.told('copy', '--from', database.url, '--to', './back');
    expect({ rows: back.rows, sha256: back.sha256 }).toEqual({ rows: there.rows, sha256: there.sha256 });
    expect(back.databases.map(({ sha256 }) => sha256)).toEqual(there.databases.map(({ sha256 }) => sha256));
    expect(await place.rows('back')).toEqual(await place.rows('data'));
    expect(await etags('back')).toEqual(await etags('data'));
  });

  it('moves every kind of row, versions, times and text to the letter; leases stay behind', async () => {
    const rows = everyKind();
    await place.store('data', { [acme]: [...rows, lease()] });
    const { code, stdout } = await place.kvent('copy', '--from', 'data', '--to', database.url);
    expect({ code, lines: lines(stdout).length }).toEqual({ code: 0, lines: 3 });
    expect(stdout).toContain('1 lease of open sessions were not copied.');
    expect(await rowsOf(new PostgresProvider({ url: database.url }))).toEqual({ [acme]: rows });
    await place.told('copy', '--from', database.url, '--to', 'back');
    expect(await place.rows('back')).toEqual({ [acme]: rows });
  });

  it('moves one tenant alone, both ways, and from one table to another', async () => {
    const rows = [raw('state:state', 'a', '1')];
    await place.store('data', { [acme]: rows, [globex]: rows, shared: rows });
    await place.told(
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
    await place.told(
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
    await place.told('copy', '--from', database.url, '--to', database.url, ...two);
    expect(await rowsOf(new PostgresProvider({ url: database.url, schema: 'two' }))).toEqual({
      [acme]: rows,
    });
    await place.told('copy', '--from', database.url, '--to', 'back', '--schema', 'two', '--tenant', 'acme');
    expect(await place.rows('back')).toEqual({ [acme]: rows });
  });

  it('takes the password from PGPASSWORD, where the address has none', async () => {
    await place.store('data', { [acme]: [raw('state:state', 'a', '1')] });
    const url = new URL(database.url);
    const password = decodeURIComponent(url.password);
    url.password = '';
    const args = ['copy', '--from', 'data', '--to', url.href];
    const { code, stderr } = await new KventProcess(args, place.folder, { env: { PGPASSWORD: password } })
      .ended;
    expect({ code, stderr }).toMatchObject({ code: 0 });
  });

  it('does what the guide shows, line by line', async () => {
    await place.store('data', { [acme]: everyKind(), shared: [raw('state:state', 'a', '1')] });
    const guide = await readFile(join(root, 'docs/guides/moving-data.md'), 'utf8');
    const shown = Array.from(guide.matchAll(/^npx kvent (.*)$/gm), ([, args = '']) => args.split(' '));
    expect(new Set(shown.map(([command]) => command))).toEqual(
      new Set(['copy', 'backup', 'restore', 'salvage']),
    );
    for (const args of shown) {
      const { code, stderr } = await place.kvent(
        ...args.map((arg) => (arg.startsWith('postgres:') ? database.url : arg)),
      );
      expect({ args, code, stderr }).toMatchObject({ code: 0 });
    }
    expect(await place.rows('restored')).toEqual(await place.rows('data'));
    expect(await place.rows('rescued')).toEqual(await place.rows('data'));
  });

  it('backs up and restores, with the hash that a copy has', async () => {
    const rows = everyKind();
    await place.store('data', { [acme]: rows, shared: [raw('state:state', 'a', '1')] });
    const { sha256 } = await place.told('copy', '--from', 'data', '--to', database.url);
    expect(await place.told('backup', '--from', database.url, '--to', 'b.jsonl.gz')).toMatchObject({
      rows: 12,
      sha256,
    });
    await using other = await freshDatabase();
    expect(await place.told('restore', '--from', 'b.jsonl.gz', '--to', other.url)).toMatchObject({
      rows: 12,
      sha256,
    });
    expect(await rowsOf(new PostgresProvider({ url: other.url }))).toEqual(await place.rows('data'));
  });
}

function interruptions(): void {
  it.each([
    ['SIGINT', 130],
    ['SIGKILL', null],
  ] as const)('a copy to it that %s ends is told from a whole one, and begun again', async (signal, code) => {
    const provider = new PostgresProvider({ url: database.url });
    const { ended, rows } = await opened(provider, () =>
      endInTheMiddle(async (count) => {
        await provider.administration.drop(acme);
        await place.store('data', { [acme]: many(count) });
        await using copy = place.start('copy', '--from', 'data', '--to', database.url);
        await until(
          'some rows are copied',
          async () => !copy.isRunning || (await provider.administration.databases()).includes(acme),
        );
        return await copy.kill(signal);
      }),
    );
    expect(ended).toMatchObject({ code, stdout: '' });
    const refused = await place.kvent('copy', '--from', 'data', '--to', database.url);
    expect(refused.stderr).toContain('is an unfinished copy of JSON file data');
    expect(await place.told('copy', '--from', 'data', '--to', database.url, '--resume')).toMatchObject({
      rows,
    });
    expect(await rowsOf(new PostgresProvider({ url: database.url }))).toEqual(await place.rows('data'));
  });
}

function refusals(): void {
  it('a wrong password, a server that is not there: one line with the code, and no password', async () => {
    await place.store('data', { [acme]: [raw('state:state', 'a', '1')] });
    const { port } = new URL(database.url);
    for (const url of [
      `postgres://nobody:s3cret@127.0.0.1:${port}/postgres`,
      'postgres://u:s3cret@127.0.0.1:1/db',
    ]) {
      const { code, stdout, stderr } = await place.kvent(
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

  it('a source whose table is not there: it is not made', async () => {
    const { code, stderr } = await place.kvent('copy', '--from', database.url, '--to', 'copy');
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('[STORAGE_UNAVAILABLE, '),
    });
    const tables = await asAdmin(database.url, (client) =>
      client.query("select 1 from pg_tables where schemaname like 'kvent%'"),
    );
    expect(tables.rowCount).toBe(0);
  });

  it('two addresses of one storage, whatever it would lose', async () => {
    await place.store('data', { [acme]: [raw('state:state', 'a', '1')] });
    await place.told('copy', '--from', 'data', '--to', database.url);
    const alias = database.url.replace(/\?|$/, '?application_name=alias&');
    const { code, stderr } = await place.kvent('copy', '--from', database.url, '--to', alias, '--replace');
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Source and target must not be the same storage'),
    });
    expect(await rowsOf(new PostgresProvider({ url: database.url }))).toEqual(await place.rows('data'));
  });
}

function frozen(): void {
  it('the source is frozen while it is copied: whoever writes waits, or is refused, and nothing is missed', async () => {
    await place.store('data', { [acme]: many() });
    await place.told('copy', '--from', 'data', '--to', database.url);
    await opened(new PostgresProvider({ url: database.url, lockTimeoutMs: 240_000 }), async (provider) => {
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
      const told = await place
        .told('copy', '--from', database.url, '--to', 'copy')
        .finally(() => (running = false));
      await writer;
      const late = (await place.rows('copy'))[acme]?.filter(({ entity }) => entity === 'late') ?? [];
      expect(told.rows).toBe(8_000 + late.length);
      expect(written).toBeGreaterThan(late.length);
    });
  });
}
