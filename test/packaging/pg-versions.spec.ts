/**
 * The packed Postgres provider with the oldest and the newest `pg` of its peer range: options and
 * wrappers that replace callbacks, and a pool that ends.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { freshDatabase } from '../postgres/databases.js';
import { packLibrary } from './pack-library.js';
import { root, ScratchApp } from './scratch-app.js';

const program = `
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

it.each([
  ['the oldest', oldest],
  ['the newest', newest],
])(
  'with %s supported pg, and with any replaced callback or promise',
  async (_, versionOf) => {
    const version = await versionOf();
    expect(version).toMatch(/^8\.\d+\.\d+$/);
    const packed = await Promise.all((['key-value-storage', 'key-value-postgres'] as const).map(packLibrary));
    const tarballs = packed.map(({ tarball }) => tarball);
    await using app = await ScratchApp.install(
      ['typeorm@1.1.1', `pg@${version}`, 'reflect-metadata@0.2.2', ...tarballs],
      'leave out',
    );
    await using database = await freshDatabase();
    const { stdout } = await app.run('.', ['--input-type=module', '--eval', program], {
      DATABASE_URL: database.url,
    });
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
    expect(JSON.parse(stdout)).toEqual({ found, wasEnded: true });
  },
  600_000,
);
