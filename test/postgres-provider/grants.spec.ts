/**
 * Least privilege: one role owns the table and migrates it, another one works with it. The guide
 * says which grants the second one needs: with exactly these all work is done, and each of them is
 * needed.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { everyVerb } from './every-verb.js';
import { opened } from './rows.js';

const owner = `owner_${process.pid}`;
const worker = `worker_${process.pid}`;
const guide = readFileSync(join(import.meta.dirname, '../../docs/guides/operate-postgres.md'), 'utf8');

/** The grants of the guide, to the role `shop`. */
const grants = [...guide.matchAll(/^grant .* to shop;$/gm)].map(([text]) =>
  text.replace(' to shop;', ` to ${worker}`),
);

let database: FreshDatabase;
const addressOf = (role: string): string => {
  const address = new URL(database.url);
  [address.username, address.password] = [role, 'x'];
  return address.href;
};
const admin = async (sql: string): Promise<void> =>
  await asAdmin(database.url, async (client) => void (await client.query(sql)));

beforeAll(async () => {
  database = await freshDatabase();
  const name = decodeURIComponent(new URL(database.url).pathname.slice(1));
  await admin(`create role ${owner} login password 'x'; create role ${worker} login password 'x'; grant create on database "${name}" to ${owner};
    revoke all on schema public from public`);
  await opened(
    new PostgresProvider({ url: addressOf(owner), poolSize: 1 }),
    async () => await Promise.resolve(),
  );
  for (const grant of grants) await admin(grant);
});
afterAll(async () => {
  await admin(`drop owned by ${worker}, ${owner} cascade; drop role ${worker}, ${owner}`);
  await database[Symbol.asyncDispose]();
});

const work = async (migrate: 'never' | 'on-open'): Promise<void> =>
  await everyVerb(
    () => new PostgresProvider({ url: addressOf(worker), poolSize: 4, migrate }),
    addressOf(worker),
  );

describe('a role with the grants of the guide', () => {
  it('does all work: every verb, streams, sweeps, exports, copies', async () => {
    expect(grants).toEqual([
      `grant usage on schema kvent to ${worker}`,
      `grant select, insert, update, delete on kvent.row to ${worker}`,
      `grant usage, update on sequence kvent.row_feed_seq to ${worker}`,
      `grant select, update on sequence kvent.row_feed_base to ${worker}`,
      `grant select on kvent.kvent_migrations to ${worker}`,
    ]);
    await work('on-open');
    await work('never');
  });

  it('owns nothing, creates nothing, and changes no table', async () => {
    await asAdmin(addressOf(worker), async (client) => {
      for (const sql of [
        'create table kvent.other (a int)',
        'create schema other',
        'alter table kvent.row add column a int',
        'truncate kvent.row',
        'drop table kvent.row',
        `insert into kvent.kvent_migrations ("timestamp", name) values (1, 'x')`,
      ])
        await expect(client.query(sql)).rejects.toMatchObject({ code: '42501' });
    });
  });

  it.each([
    ['usage', 'on schema kvent', 'never'],
    ['select', 'on kvent.row', 'never'],
    ['insert', 'on kvent.row', 'never'],
    ['update', 'on kvent.row', 'never'],
    ['delete', 'on kvent.row', 'never'],
    ['usage, update', 'on sequence kvent.row_feed_seq', 'never'],
    ['select', 'on sequence kvent.row_feed_base', 'never'],
    ['select', 'on kvent.kvent_migrations', 'on-open'],
  ] as const)('fails without %s %s', async (right, on, migrate) => {
    await admin(`revoke ${right} ${on} from ${worker}`);
    try {
      await expect(work(migrate)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', effect: 'none' });
    } finally {
      await admin(`grant ${right} ${on} to ${worker}`);
    }
  });

  it('needs the last one only where it looks for migrations', async () => {
    await admin(`revoke select on kvent.kvent_migrations from ${worker}`);
    try {
      await work('never');
    } finally {
      await admin(`grant select on kvent.kvent_migrations to ${worker}`);
    }
  });
});
