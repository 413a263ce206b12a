/**
 * Law 7, keys: every encoded key finds its own row, and pages are in the order of keys. Keys arrive
 * encoded as text whose order is that of JavaScript's `<` and of UTF-8. File names, collations and
 * path separators of an engine must not change identity or order.
 */
import assert from 'node:assert/strict';
import { encodeRange } from '../../../core/encoding/key-encoding.js';
import { limits, type Key } from '../../../core.js';
import { decodeKey, encodeKey } from '../../../provider.js';
import { breaks, changesAddresses, changesPages, changesRanges } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import { hostileKeys, orderedKeys } from '../../kit/hostile-keys.js';
import type { Subject } from '../../kit/subject.js';
import { assertThrows } from '../../kit/assertions.js';
import { put } from '../../kit/batches.js';

const law = 7;

async function store(subject: Subject, keys: readonly Key[]): Promise<readonly string[]> {
  const encoded = keys.map(encodeKey);
  assert.equal(new Set(encoded).size, keys.length, 'two keys have one encoding');
  const values = [...encoded.keys()].toSorted((a, b) => ((a * 7_919) % 1_009) - ((b * 7_919) % 1_009));
  await subject.mustCommit({
    changes: values.map((index) => put(subject.address(encoded[index] as string), String(index))),
  });
  return encoded;
}

export const keyClauses: readonly Clause[] = [
  {
    name: 'Hostile keys (dots, slashes, NUL, lone surrogates, device names, quotes) each find their own row, alone and in pages.',
    law,
    broken: changesAddresses('removes characters from keys to make file names', (address) => ({
      ...address,
      key: address.key.replaceAll(/["\\/:*?<>|]/g, '_'),
    })),
    async run(subject) {
      const encoded = await store(subject, hostileKeys);
      const { rows } = await subject.provider.read(encoded.map((key) => subject.address(key)));
      assert.deepEqual(
        rows.map((row) => (row?.value.kind === 'json' ? row.value.text : undefined)),
        hostileKeys.map((_, index) => String(index)),
      );
      assert.deepEqual((await subject.scanKeys()).map(decodeKey).toSorted(), hostileKeys.toSorted());
    },
  },
  {
    name: 'Keys that differ in case alone, or in how a letter is composed, are different keys.',
    law,
    broken: changesAddresses('folds case, as some file systems do', (address) => ({
      ...address,
      key: address.key.toLowerCase(),
    })),
    async run(subject) {
      const keys = [
        'straße',
        'STRASSE',
        'Straße',
        'strasse',
        'é',
        'e\u0301',
        'É',
        'İ',
        'i',
        'I',
        'ı',
        'K',
        '\u212A',
        'k',
        'Å',
        '\u212B',
        'A\u030A',
      ];
      const encoded = await store(subject, keys);
      for (const [index, key] of encoded.entries())
        assert.equal(await subject.readText(subject.address(key)), String(index));
      assert.equal((await subject.scanKeys()).length, keys.length);
    },
  },
  {
    name: 'Pages are in key order: bytes, bigints, numbers by value, text by code point, false, true; keys of parts before text keys.',
    law,
    broken: changesPages('sorts by locale', (page, range) => ({
      ...page,
      rows: page.rows.toSorted(
        (a, b) => a.key.localeCompare(b.key, 'en') * (range.reverse === true ? -1 : 1),
      ),
    })),
    async run(subject) {
      const encoded = await store(subject, orderedKeys);
      assert.deepEqual(await subject.scanKeys(), encoded);
      assert.deepEqual((await subject.scanKeys()).map(decodeKey), orderedKeys);
      assert.deepEqual(await subject.scanKeys({ reverse: true, limit: 11 }), encoded.toReversed());
    },
  },
  {
    name: 'A prefix of parts finds the keys below it, for parts of every kind, and neither itself nor its neighbours.',
    law,
    broken: changesRanges('ends a prefix before characters that are not ASCII', ({ end, ...range }) =>
      end === undefined ? range : { ...range, end: `${end.slice(0, -1)}!t~` },
    ),
    async run(subject) {
      const below: readonly Key[] = [
        ['user', Uint8Array.of(9)],
        ['user', -1n],
        ['user', -5],
        ['user', 42],
        ['user', 'ä'],
        ['user', '日本'],
        ['user', '\u{1F600}'],
        ['user', false],
        ['user', true, 'x'],
      ];
      const beside: readonly Key[] = [
        ['use'],
        ['user'],
        ['user\0'],
        ['user '],
        ['user!x'],
        ['users'],
        ['users', 1],
        'user',
        'user!',
        ['user\uffff'],
      ];
      await store(subject, [...below, ...beside]);
      const found = (await subject.scanKeys(encodeRange({ prefix: ['user'] }))).map(decodeKey);
      assert.deepEqual(found, below);
      const some = await subject.scanKeys(
        encodeRange({ prefix: ['user'], start: ['user', -5], end: ['user', true] }),
      );
      assert.deepEqual(some.map(decodeKey), below.slice(2, 8));
    },
  },
  {
    name: 'A text prefix finds all text keys that begin with it.',
    law,
    broken: changesRanges('ends a prefix before the highest characters', ({ end, ...range }) =>
      end === undefined ? range : { ...range, end: `${end.slice(0, -1)}\u{D7FE}` },
    ),
    async run(subject) {
      const below = [
        'app',
        'app\0',
        'app ',
        'app!',
        'app1',
        'apple',
        'appé',
        'app日',
        'app\ud800',
        'app\uffff',
        'app\u{10FFFF}',
      ];
      await store(subject, [...below, 'ap', 'apo', 'apq', 'App', 'Äpp', 'b', ['app'], ['app', 1]]);
      assert.deepEqual((await subject.scanKeys(encodeRange({ prefix: 'app' }))).map(decodeKey), below);
      assert.equal((await subject.scanKeys(encodeRange({ prefix: '' }))).length, below.length + 6);
    },
  },
  {
    name: 'The parts of an address are separate: addresses that join to the same text are different rows.',
    law,
    broken: changesAddresses(
      'joins container, entity and key with a colon',
      ({ container, entity, key, ...others }) =>
        ({
          ...others,
          container: 'all',
          entity: '',
          key: `${container}:${entity}:${key}`,
        }) as never,
    ),
    async run(subject) {
      for (const glue of [':', '/', '!', '.', '-', '_', '|', ',', '~', '%', '"', '\\', '#', ' ', '\u0001']) {
        const rows = [
          subject.address('c', { container: 'a', entity: `b` }),
          subject.address(`b${glue}c`, { container: 'a', entity: '' }),
          subject.address('c', { container: `a${glue}b`, entity: '' }),
          subject.address(`${glue}c`, { container: 'a', entity: 'b' }),
          subject.address('c', { container: 'a', entity: `b${glue}` }),
          subject.address('c', { container: 'a', entity: `${glue}b` }),
          subject.address(`b${glue}c`, { container: 'a', entity: glue }),
          subject.address('c', { container: `a${glue}`, entity: 'b' }),
          subject.address(`c${glue}`, { container: 'a', entity: 'b' }),
        ];
        await subject.mustCommit({ changes: rows.map((row, index) => put(row, String(index))) });
        for (const [index, row] of rows.entries()) assert.equal(await subject.readText(row), String(index));
        for (const row of rows)
          assert.ok(
            (await subject.scanKeys({ container: row.container, entity: row.entity })).includes(row.key),
          );
        await subject.provider.administration.drop(subject.database());
      }
    },
  },
  {
    name: 'Containers, entities and databases may have any name that a key may have.',
    law,
    broken: changesAddresses('trims entities', (address) => ({
      ...address,
      entity: address.entity.trim().replace(/\.+$/, ''),
    })),
    async run(subject) {
      const names = hostileKeys.map((key) => encodeKey(key));
      const rows = names.map((name) => subject.address(name, { container: name, entity: name }));
      await subject.mustCommit({ changes: rows.map((row) => put(row, JSON.stringify(row.key))) });
      const entities = names.map((entity) => subject.address('same', { entity }));
      await subject.mustCommit({ changes: entities.map((row) => put(row, JSON.stringify(row.entity))) });
      for (const row of rows) assert.equal(await subject.readText(row), JSON.stringify(row.key));
      for (const row of entities) assert.equal(await subject.readText(row), JSON.stringify(row.entity));
      const databases = ['..', '/', 'CON', 'con', 'a:b', "'", 'ä', '__proto__', 'x.'].map((name) =>
        subject.database(name),
      );
      for (const database of databases)
        await subject.putRow(subject.address('k', { database }), JSON.stringify(database));
      for (const database of databases)
        assert.equal(await subject.readText(subject.address('k', { database })), JSON.stringify(database));
    },
  },
  {
    name: 'An empty entity is an entity.',
    law,
    broken: changesAddresses('stores an empty entity under another name', (address) => ({
      ...address,
      entity: address.entity === '' ? 'default' : address.entity,
    })),
    async run(subject) {
      const [empty, named] = [
        subject.address('k', { entity: '' }),
        subject.address('k', { entity: 'default' }),
      ];
      await subject.mustCommit({ changes: [put(empty, '1'), put(named, '2')] });
      assert.deepEqual([await subject.readText(empty), await subject.readText(named)], ['1', '2']);
      assert.deepEqual(await subject.scanKeys({ entity: '' }), ['k']);
      assert.deepEqual(
        (await subject.provider.administration.spaces(empty.database)).map(({ entity }) => entity),
        ['', 'default'],
      );
    },
  },
  {
    name: 'Addresses of the maximum length are distinguished to their last byte; a key one byte longer is LIMIT_EXCEEDED.',
    law: 13,
    broken: changesAddresses('cuts keys at 1,000 characters', (address) => ({
      ...address,
      key: address.key.slice(0, 1_000),
    })),
    async run(subject) {
      for (const filler of ['x', 'é', '日', '\u{1F600}']) {
        const full = (bytes: number, last: string): string => {
          const count = Math.floor((bytes - last.length) / Buffer.byteLength(filler));
          return (
            filler.repeat(count) + 'y'.repeat(bytes - last.length - count * Buffer.byteLength(filler)) + last
          );
        };
        const place = {
          container: full(limits.containerBytesMax, 'c'),
          entity: full(limits.entityBytesMax, 'e'),
        };
        const rows = ['1', '2'].map((last) => subject.address(full(limits.keyBytesMax, last), place));
        await subject.mustCommit({ changes: rows.map((row) => put(row, JSON.stringify(row.key.at(-1)))) });
        for (const row of rows) assert.equal(await subject.readText(row), JSON.stringify(row.key.at(-1)));
        assert.deepEqual(
          await subject.scanKeys(place),
          rows.map(({ key }) => key),
        );
      }
      assert.equal(encodeKey('k'.repeat(limits.keyBytesMax)).length, limits.keyBytesMax);
      const error = assertThrows('LIMIT_EXCEEDED', 'a key of one byte too many', () =>
        encodeKey('k'.repeat(limits.keyBytesMax + 1)),
      );
      assert.deepEqual(
        { ...error, limit: 'keyBytesMax', given: limits.keyBytesMax + 1, allowed: limits.keyBytesMax },
        { ...error },
      );
    },
  },
  {
    name: 'A database and an address of the longest names are found by reads, lists and administration.',
    law: 13,
    broken: breaks('cuts database names at 100 characters', (provider) => ({
      administration: {
        ...provider.administration,
        databases: async () => (await provider.administration.databases()).map((name) => name.slice(0, 100)),
      },
    })),
    async run(subject) {
      const base = subject.database('');
      const databases = ['1', '2'].map((last) =>
        subject.database('d'.repeat(limits.databaseBytesMax - base.length - 1) + last),
      );
      for (const database of databases)
        await subject.putRow(subject.address('k', { database }), JSON.stringify(database));
      for (const database of databases)
        assert.equal(await subject.readText(subject.address('k', { database })), JSON.stringify(database));
      const found = await subject.provider.administration.databases();
      assert.deepEqual(
        found.filter((name) => databases.includes(name)),
        databases,
      );
    },
  },
];
