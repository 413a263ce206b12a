/**
 * The packed Postgres provider with the oldest and the newest TypeORM and `pg` of its peer ranges,
 * without Nest: alone, in a transaction of the application's and beside what else happens there,
 * with options and wrappers that replace callbacks, and with a pool that ends.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { freshDatabase } from '../postgres/databases.js';
import { packLibrary } from './pack-library.js';
import { root, ScratchApp } from './scratch-app.js';

/** On connections of the application, or of the provider. */
const transactions = `
import { DataSource } from 'typeorm';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { defineState, openStorage } from '@kvent/key-value-storage/core';
import { defineStream, event, EventStore } from '@kvent/event-store/core';

const Notes = defineState('note');
const Tills = defineStream('till', { events: { paid: event() }, initial: () => 0, evolve: (times) => times + 1 });
const dataSource = await new DataSource({ type: 'postgres', url: process.env.DATABASE_URL }).initialize();
const storage = await openStorage(new PostgresProvider({ dataSource }));
const pay = (inside) => new EventStore(inside).stream(Tills).append('one', [{ type: 'paid' }], { expectedVersion: 'any' });
await dataSource.transaction(async (manager) => {
  await storage.within(manager).store(Notes).add('a', 'with it');
  await pay(storage.within(manager));
});
await dataSource.transaction(async (manager) => (await pay(storage.within(manager)), Promise.reject(new Error('undone')))).catch(() => {});
await pay(storage);
const found = { note: (await storage.store(Notes).getOrThrow('a')).value, till: (await new EventStore(storage).stream(Tills).load('one')).state };
await storage[Symbol.asyncDispose]();
await dataSource.destroy();
const own = await openStorage(new PostgresProvider({ url: process.env.DATABASE_URL, applicationName: 'own' }));
found.own = (await own.store(Notes).getOrThrow('a')).value;
await own[Symbol.asyncDispose]();
process.stdout.write(JSON.stringify(found));
`;

/** At each moment of a call, in microtasks: what else happens in its transaction. */
const besideCalls = `
import { DataSource } from 'typeorm';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { defineState, openStorage } from '@kvent/key-value-storage/core';

const dataSource = await new DataSource({ type: 'postgres', url: process.env.DATABASE_URL }).initialize();
const storage = await openStorage(new PostgresProvider({ dataSource }));
const notes = storage.store(defineState('note'));
await dataSource.query(\`create table public.mine (id int);
  create function public.refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
  create trigger refuse before insert on kvent.row for each row when (new.key = 'refused') execute function public.refuse()\`);
const after = async (moment) => { for (let n = 0; n < moment; n += 1) await null; };
const calls = [];
for (let moment = 0; moment < 30; moment += 1) {
  const fails = async () => (await after(moment), Promise.reject(new Error('rolled back')));
  await dataSource.transaction(async (manager) => {
    calls.push(notes.within(manager).set('left', 1));
    await Promise.all([calls.at(-1), fails()]);
  }).catch(() => {});
  await dataSource.transaction(async (manager) => {
    const nested = manager.transaction(async (inner) => {
      calls.push(notes.within(inner).set('left', 1));
      await Promise.all([calls.at(-1), fails()]);
    });
    await nested.catch(() => {});
    const own = after(moment).then(() => manager.query('insert into public.mine values ($1)', [moment]));
    await notes.within(manager).set('refused', 1).catch(() => {});
    await own;
  });
}
await Promise.allSettled(calls);
const [{ count }] = await dataSource.query('select count(*)::int from public.mine');
process.stdout.write(JSON.stringify({ left: (await notes.get('left')) ?? null, mine: count }));
await storage[Symbol.asyncDispose]();
await dataSource.destroy();
`;

const replacedCallbacks = `
import { DataSource } from 'typeorm';
import pg from 'pg';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { defineState, openStorage } from '@kvent/key-value-storage/core';

const Notes = defineState('note');
const url = process.env.DATABASE_URL;
const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
const found = {};

async function on(extra, wrap = (original) => original) {
  const original = pg.Client.prototype.query;
  pg.Client.prototype.query = wrap(original);
  const dataSource = await new DataSource({ type: 'postgres', url, extra: { max: 4, ...extra } }).initialize();
  const storage = await openStorage(new PostgresProvider({ dataSource }));
  const notes = storage.store(Notes);
  await notes.clear();
  await notes.add('a', 1);
  await Promise.all(['b', 'c', 'd'].map((key) => notes.set(key, 2)));
  await dataSource.transaction((manager) => storage.within(manager).store(Notes).set('e', 3));
  const conflict = await notes.add('a', 1).catch(({ code }) => code);
  const values = (await notes.getMany(['a', 'b', 'none', 'e'])).map((entry) => entry?.value ?? null);
  // The pool ends while a call waits for a connection, and then the storage closes.
  void notes.get('a').catch(() => undefined);
  await dataSource.destroy();
  await storage[Symbol.asyncDispose]();
  pg.Client.prototype.query = original;
  return JSON.stringify([conflict, ...values, timers()]);
}

found.plain = await on({});
found.timeout = await on({ query_timeout: 120_000 });
found.binary = await on({ binary: true });
found.pipeline = await on({ pipeline: true });
let ended = 0;
found.callback = await on({}, (original) => function (query, ...rest) {
  const { callback } = query;
  if (callback) query.callback = (...args) => { ended += 1; callback(...args); };
  return original.call(this, query, ...rest);
});
found.derived = await on({}, (original) => function (query, ...rest) {
  return original.call(this, typeof query === 'string' ? query : Object.create(query), ...rest);
});
found.copied = await on({}, (original) => function (query, ...rest) {
  return original.call(this, typeof query === 'string' ? query : { ...query }, ...rest);
});
found.promise = await on({}, (original) => async function (...args) { await null; return await original.apply(this, args); });
process.stdout.write(JSON.stringify({ found, wasEnded: ended > 5 }));
`;

const oldest = async (): Promise<string> => {
  const { peerDependencies } = JSON.parse(
    await readFile(join(root, 'libs/key-value-postgres/package.json'), 'utf8'),
  ) as {
    readonly peerDependencies: { readonly pg: string };
  };
  return peerDependencies.pg.replace(/^\^/, '');
};
const newest = async (): Promise<string> =>
  (
    JSON.parse(await readFile(join(root, 'node_modules/pg/package.json'), 'utf8')) as {
      readonly version: string;
    }
  ).version;

describe.each([
  ['the oldest', '0.3.31', oldest],
  ['the newest', '1.1.1', newest],
])('With %s peers (TypeORM %s)', (_, typeorm, pgVersion) => {
  let app: ScratchApp;

  beforeAll(async () => {
    const version = await pgVersion();
    expect(version).toMatch(/^8\.\d+\.\d+$/);
    const packed = await Promise.all(
      (['key-value-storage', 'key-value-postgres', 'event-store'] as const).map(packLibrary),
    );
    app = await ScratchApp.install(
      [
        `typeorm@${typeorm}`,
        `pg@${version}`,
        'reflect-metadata@0.2.2',
        ...packed.map(({ tarball }) => tarball),
      ],
      'leave out',
    );
  }, 600_000);

  afterAll(async () => {
    await app[Symbol.asyncDispose]();
  });

  const run = async (program: string): Promise<unknown> => {
    await using database = await freshDatabase();
    const { stdout } = await app.run('.', ['--input-type=module', '--eval', program], {
      DATABASE_URL: database.url,
    });
    return JSON.parse(stdout);
  };

  it('states and streams are kept, and commit with a transaction of the application’s', async () => {
    expect(await run(transactions)).toEqual({ note: 'with it', till: 2, own: 'with it' });
  });

  it('a call is atomic with its transaction, and undoes no statement beside it', async () => {
    expect(await run(besideCalls)).toEqual({ left: null, mine: 30 });
  });

  it('a replaced callback or promise of pg changes nothing, and a pool that ends leaves no timer', async () => {
    const each = JSON.stringify(['KEY_EXISTS', 1, 2, null, 3, 0]);
    const found = {
      plain: each,
      timeout: each,
      binary: each,
      pipeline: each,
      callback: each,
      derived: each,
      copied: each,
      promise: each,
    };
    expect(await run(replacedCallbacks)).toEqual({ found, wasEnded: true });
  });
});
