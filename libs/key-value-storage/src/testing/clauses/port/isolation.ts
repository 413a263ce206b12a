/**
 * Law 10, isolation: an address has four parts, and a database is a tenant. A provider that joins,
 * folds or cuts any part mixes the data of two tenants; this is the worst fault that a store can
 * have, and no check above the port detects it.
 */
import assert from 'node:assert/strict';
import type { StorageProvider } from '../../../core.js';
import type { Address, RawRow } from '../../../provider.js';
import { breaks, changesAddresses } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import type { Subject } from '../../kit/subject.js';
import { concurrently } from '../../kit/assertions.js';
import { check, json, number, put, remove, sum } from '../../kit/batches.js';

const law = 10;

/** A provider with a defect in its administration. */
const administers = (
  fault: string,
  change: (correct: StorageProvider['administration']) => Partial<StorageProvider['administration']>,
) =>
  breaks(fault, (provider) => ({
    administration: { ...provider.administration, ...change(provider.administration) },
  }));

async function exported(subject: Subject, database: string): Promise<readonly RawRow[]> {
  const rows: RawRow[] = [];
  for await (const raw of subject.provider.administration.export(database)) rows.push(raw);
  return rows;
}

/** The names among those of this clause: other tests may use the same server. */
async function mine(subject: Subject, names: readonly string[]): Promise<readonly string[]> {
  return (await subject.provider.administration.databases()).filter((database) => names.includes(database));
}

const sameKey = (subject: Subject): readonly Address[] => [
  subject.address('same'),
  subject.address('same', { database: subject.database('other') }),
  subject.address('same', { container: 'counter:kit' }),
  subject.address('same', { entity: 'other' }),
];

export const isolationClauses: readonly Clause[] = [
  {
    name: 'One key in two databases, two containers and two entities is four rows, to write, read, list and delete separately.',
    law,
    broken: changesAddresses('ignores the container of a row', (address) => ({
      ...address,
      container: 'all',
    })),
    async run(subject) {
      const addresses = sameKey(subject);
      for (const [index, address] of addresses.entries()) await subject.putRow(address, String(index));
      for (const [index, address] of addresses.entries()) {
        assert.equal(await subject.readText(address), String(index));
        const { database, container, entity } = address;
        assert.deepEqual(
          (await subject.scanPage({ database, container, entity })).rows.map(({ row }) => row.value),
          [json(String(index))],
        );
      }
      for (const [index, address] of addresses.entries()) {
        await subject.mustCommit({ database: address.database, changes: [remove(address)] });
        const { rows } = await subject.provider.read(addresses);
        assert.deepEqual(
          rows.map((row) => row === undefined),
          addresses.map((_, at) => at <= index),
        );
      }
    },
  },
  {
    name: 'One number in two databases, two containers and two entities is four numbers.',
    law,
    broken: changesAddresses('ignores the entity of a row', (address) => ({
      ...address,
      entity: 'all',
    })),
    async run(subject) {
      const addresses = sameKey(subject);
      for (const [index, address] of addresses.entries())
        await subject.mustCommit({ database: address.database, changes: [sum(address, 10 ** index)] });
      assert.deepEqual(
        (await subject.provider.read(addresses)).rows.map((row) => row?.value),
        [1, 10, 100, 1_000].map(number),
      );
    },
  },
  {
    name: 'Fifty databases that concurrently write the same keys each read their own, without conflicts.',
    law,
    broken: breaks('uses one database for all', (provider) => ({
      read: (addresses, options) =>
        provider.read(
          addresses.map((address) => ({ ...address, database: 'tenant:all' })),
          options,
        ),
      commit: (batches, options) =>
        provider.commit(
          batches.map((batch) => ({ ...batch, database: 'tenant:all' })),
          options,
        ),
    })),
    async run(subject) {
      await concurrently(50, async (index) => {
        const address = subject.address('same', { database: subject.database(`tenant-${index}`) });
        const version = await subject.putRow(address, String(index));
        await subject.mustCommit({
          database: address.database,
          checks: [check(address, version)],
          changes: [put(address, String(index * 2))],
        });
        assert.equal(await subject.readText(address), String(index * 2));
      });
    },
  },
  {
    name: 'Databases whose names begin alike, or differ in case alone, are different databases.',
    law,
    broken: breaks('folds the case of database names', (provider) => ({
      read: (addresses, options) =>
        provider.read(
          addresses.map((address) => ({ ...address, database: address.database.toLowerCase() })),
          options,
        ),
      commit: (batches, options) =>
        provider.commit(
          batches.map((batch) => ({ ...batch, database: batch.database.toLowerCase() })),
          options,
        ),
    })),
    async run(subject) {
      const databases = ['acme', 'acme2', 'ACME', 'Acme', 'acme.', 'acm'].map((name) =>
        subject.database(name),
      );
      for (const database of databases)
        await subject.putRow(subject.address('k', { database }), JSON.stringify(database));
      for (const database of databases) {
        assert.equal(await subject.readText(subject.address('k', { database })), JSON.stringify(database));
        assert.deepEqual(await subject.scanKeys({ database }), ['k']);
      }
      assert.equal(await subject.provider.administration.drop(databases[0] as string), true);
      assert.deepEqual(await mine(subject, databases), databases.slice(1).toSorted());
    },
  },
  {
    name: 'One call may commit the same keys in several databases, and each batch is evaluated in its own.',
    law,
    broken: breaks('evaluates all batches of a call with the rows of the first', (provider) => ({
      commit: (batches, options) =>
        provider.commit(
          batches.map((batch) => ({ ...batch, database: batches[0]?.database ?? '' })),
          options,
        ),
    })),
    async run(subject) {
      const databases = ['a', 'b', 'c'].map((name) => subject.database(name));
      const address = subject.address('same', { database: databases[0] as string });
      await subject.putRow(address, '"there already"');
      const results = await subject.provider.commit(
        databases.map((database) =>
          subject.batch({ database, checks: [check(address, 'absent')], changes: [put(address, '1')] }),
        ),
      );
      assert.deepEqual(
        results.map(({ outcome }) => outcome),
        ['conflict', 'committed', 'committed'],
      );
      assert.equal(await subject.readText(address), '"there already"');
    },
  },
  {
    name: '`databases` lists those that hold a row, in order; deleting the last row removes its database.',
    law,
    broken: administers('lists empty databases', ({ databases }) => {
      const ever = new Set<string>();
      return {
        databases: async () => {
          for (const database of await databases()) ever.add(database);
          return [...ever].sort();
        },
      };
    }),
    async run(subject) {
      const names = ['b', 'a', 'c'].map((name) => subject.database(name));
      const [b, a, c] = names as [string, string, string];
      assert.deepEqual(await mine(subject, names), []);
      for (const database of names) await subject.putRow(subject.address('k', { database }), '1');
      assert.deepEqual(await mine(subject, names), [a, b, c]);
      await subject.mustCommit({ database: b, changes: [remove(subject.address('k'))] });
      assert.deepEqual(await mine(subject, names), [a, c]);
    },
  },
  {
    name: '`spaces` lists those that hold a row, in the order of container and entity.',
    law,
    broken: administers('lists one entity of each container', ({ spaces }) => ({
      spaces: async (database) => {
        const all = await spaces(database);
        return all.filter(({ container }, index) => all[index - 1]?.container !== container);
      },
    })),
    async run(subject) {
      const database = subject.database();
      const spaces = [
        { database, container: 'counter:a', entity: '' },
        { database, container: 'counter:a', entity: 'x' },
        { database, container: 'state:B', entity: 'a' },
        { database, container: 'state:a', entity: 'B' },
        { database, container: 'state:a', entity: 'a' },
      ];
      for (const space of spaces.toReversed()) await subject.putRow({ ...space, key: 'k' }, '1');
      await subject.putRow(
        subject.address('k', { database: subject.database('beside'), entity: 'beside' }),
        '1',
      );
      assert.deepEqual(await subject.provider.administration.spaces(database), spaces);
      await subject.mustCommit({
        changes: [remove({ ...(spaces[1] as (typeof spaces)[number]), key: 'k' })],
      });
      assert.deepEqual(await subject.provider.administration.spaces(database), spaces.toSpliced(1, 1));
      assert.deepEqual(await subject.provider.administration.spaces(subject.database('empty')), []);
    },
  },
  {
    name: 'An export has every row of its database unchanged and in order, and no row of another.',
    law,
    broken: administers('exports in the order of the keys alone', ({ export: exportRows }) => ({
      async *export(database) {
        const rows: RawRow[] = [];
        for await (const raw of exportRows(database)) rows.push(raw);
        yield* rows.sort((a, b) => (a.key < b.key ? -1 : 1));
      },
    })),
    async run(subject) {
      const rows = [
        subject.address('z', { container: 'a' }),
        subject.address('a', { container: 'b', entity: '' }),
        subject.address('b', { container: 'b', entity: 'A' }),
        subject.address('a', { container: 'b', entity: 'a' }),
        subject.address('é', { container: 'b', entity: 'a' }),
      ];
      for (const address of rows.toReversed()) await subject.putRow(address, '1', 60_000);
      await subject.putRow(subject.address('theirs', { database: subject.database('theirs') }), '1');
      const stored = (await subject.provider.read(rows)).rows;
      assert.deepEqual(
        await exported(subject, subject.database()),
        rows.map(({ container, entity, key }, index) => ({ container, entity, key, row: stored[index] })),
      );
      assert.deepEqual(await exported(subject, subject.database('empty')), []);
    },
  },
  {
    name: 'An import writes rows unchanged, with versions and times, over existing ones, and returns how many.',
    law,
    broken: administers('does not overwrite existing rows', ({ import: importRows, export: exportRows }) => ({
      import: async (database, rows) => {
        const existing = new Set<string>();
        for await (const { container, entity, key } of exportRows(database))
          existing.add(JSON.stringify([container, entity, key]));
        const fresh: RawRow[] = [];
        for await (const raw of rows)
          if (!existing.has(JSON.stringify([raw.container, raw.entity, raw.key]))) fresh.push(raw);
        return await importRows(database, fresh);
      },
    })),
    async run(subject) {
      const now = (await subject.provider.read([])).time;
      const rows: RawRow[] = [
        { container: 'a', entity: 'x', key: '1', row: { version: '7', value: json(' 1 '), updatedAt: 5 } },
        {
          container: 'a',
          entity: 'x',
          key: '2',
          row: {
            version: '9223372036854775807',
            value: number(-5),
            updatedAt: now,
            expiresAt: now + 3_600_000,
            ttlMs: 12,
          },
        },
        {
          container: 'a',
          entity: 'y',
          key: '1',
          row: { version: '7', value: json('null'), updatedAt: now - 1, expiresAt: now + 7_200_000 },
        },
      ];
      const database = subject.database();
      await subject.mustCommit({
        changes: [
          put({ container: 'a', entity: 'x', key: '1' }, '"old"'),
          put({ container: 'a', entity: 'x', key: '0' }, '"stays"'),
        ],
      });
      const asynchronous = async function* (): AsyncGenerator<RawRow> {
        yield* rows;
      };
      assert.equal(await subject.provider.administration.import(database, asynchronous()), 3);
      assert.deepEqual((await exported(subject, database)).slice(1), rows);
      assert.equal((await exported(subject, database)).length, 4);
      await subject.mustCommit({
        checks: [check({ container: 'a', entity: 'x', key: '1' }, '7')],
        changes: [remove({ container: 'a', entity: 'x', key: '1' })],
      });
      assert.equal(await subject.provider.administration.import(database, []), 0);
    },
  },
  {
    name: 'Dropping a database removes all of it and nothing else, and returns whether it existed.',
    law,
    broken: administers('drops every database whose name begins with the name', ({ drop, databases }) => ({
      drop: async (database) => {
        let dropped = false;
        for (const name of await databases())
          if (name.startsWith(database)) dropped = (await drop(name)) || dropped;
        return dropped;
      },
    })),
    async run(subject) {
      const [one, beside] = [subject.database('one'), subject.database('one-and-a-half')];
      for (const database of [one, beside]) {
        await subject.putRow(subject.address('a', { database }), '1');
        await subject.putRow(subject.address('b', { database, container: 'counter:kit' }), number(1));
      }
      const { administration } = subject.provider;
      assert.deepEqual([await administration.drop(one), await administration.drop(one)], [true, false]);
      assert.deepEqual(
        [
          await administration.spaces(one),
          await exported(subject, one),
          await subject.scanKeys({ database: one }),
        ],
        [[], [], []],
      );
      assert.deepEqual(
        [(await exported(subject, beside)).length, await mine(subject, [one, beside])],
        [2, [beside]],
      );
      await subject.mustCommit({
        database: one,
        checks: [check(subject.address('a'), 'absent')],
        changes: [put(subject.address('a'), '2')],
      });
      assert.equal(await administration.drop(subject.database('never')), false);
    },
  },
];
