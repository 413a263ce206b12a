/**
 * The packed Postgres provider in applications that stand on one TypeORM or the other, without
 * Nest: alone, and in a transaction of the application's.
 */
import { describe, expect, it } from '@jest/globals';
import { freshDatabase } from '../postgres/databases.js';
import { packLibrary } from './pack-library.js';
import { ScratchApp } from './scratch-app.js';

const program = `
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
process.stdout.write(JSON.stringify(found));
`;

describe.each(['0.3.31', '1.1.1'])('With TypeORM %s', (version) => {
  it('states and streams are kept, and commit with a transaction of the application’s', async () => {
    const packed = await Promise.all(
      (['key-value-storage', 'key-value-postgres', 'event-store'] as const).map(packLibrary),
    );
    const tarballs = packed.map(({ tarball }) => tarball);
    await using app = await ScratchApp.install(
      [`typeorm@${version}`, 'pg@8.23.1', 'reflect-metadata@0.2.2', ...tarballs],
      'leave out',
    );
    await using database = await freshDatabase();
    const { stdout } = await app.run('.', ['--input-type=module', '--eval', program], {
      DATABASE_URL: database.url,
    });
    expect(JSON.parse(stdout)).toEqual({ note: 'with it', till: 2 });
  }, 240_000);
});
