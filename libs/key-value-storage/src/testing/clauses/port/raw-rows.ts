/**
 * Law 14, damage is loud: imported rows come from backups and other storages, and are checked
 * before they are stored. A row that cannot be read back would make the store unusable later.
 * `soundRows` does it for every provider.
 */
import assert from 'node:assert/strict';
import { isStorageError, limits } from '../../../core.js';
import { feedEnd, type RawRow, type Row } from '../../../provider.js';
import { breaks } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import { assertRejects } from '../../kit/assertions.js';
import { bytes, json, number } from '../../kit/batches.js';

const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);
const row = (more: object = {}): Row => ({
  version: '7',
  value: json('{"a":1}'),
  updatedAt: 1_763_694_000_123,
  ...more,
});
const raw = (key: string, more: Partial<RawRow> = {}): RawRow => ({
  container: 'state:kit',
  entity: 'thing',
  key,
  row: row(),
  ...more,
});

/** Rows that only a damaged or forged file holds, each with what is wrong with it. */
const damaged: Readonly<Record<string, RawRow>> = {
  'a time beyond every number': raw('a', { row: row({ updatedAt: Number.POSITIVE_INFINITY }) }),
  'a time that is no number': raw('a', { row: row({ updatedAt: Number.NaN }) }),
  'a time in parts of milliseconds': raw('a', { row: row({ updatedAt: 1.5 }) }),
  'a time before 1970': raw('a', { row: row({ updatedAt: -1 }) }),
  'a time that no date can hold': raw('a', { row: row({ updatedAt: Number.MAX_SAFE_INTEGER }) }),
  'an expiry beyond every number': raw('a', { row: row({ expiresAt: Number.POSITIVE_INFINITY, ttlMs: 1 }) }),
  'a time to live that is none': raw('a', { row: row({ expiresAt: 9_000_000_000_000, ttlMs: 0 }) }),
  'a time to live over its limit': raw('a', {
    row: row({ expiresAt: 9_000_000_000_000, ttlMs: limits.ttlMsMax + 1 }),
  }),
  'no version': raw('a', { row: row({ version: '' }) }),
  'a version with a zero in front': raw('a', { row: row({ version: '07' }) }),
  'a version beyond 63 bits': raw('a', { row: row({ version: String(2n ** 63n) }) }),
  'a position of other digits': raw('a', { row: row({ position: '8'.repeat(32) }) }),
  'a number beyond 64 bits': raw('a', { row: row({ value: number(2n ** 63n) }) }),
  'a number below 64 bits': raw('a', { row: row({ value: number(-(2n ** 63n) - 1n) }) }),
  'text that is no JSON': raw('a', { row: row({ value: json('{"a":"b}') }) }),
  'two values of JSON': raw('a', { row: row({ value: json('1}{"b":2') }) }),
  'JSON with half a character': raw('a', { row: row({ value: json('"\ud800"') }) }),
  'JSON one level too deep': raw('a', { row: row({ value: json(nested(limits.valueLevelsMax + 1)) }) }),
  'JSON of 200,000 levels': raw('a', { row: row({ value: json(nested(200_000)) }) }),
  'JSON over its limit': raw('a', { row: row({ value: json(`"${'x'.repeat(limits.valueBytesMax)}"`) }) }),
  'bytes over their limit': raw('a', {
    row: row({ value: { kind: 'bytes', bytes: new Uint8Array(limits.valueBytesMax + 1) } }),
  }),
  'a key that is no encoding': raw('a"zz'),
  'a key of parts that are none': raw('!x1'),
  'an empty key': raw(''),
  'a key with NUL': raw('a\0b'),
  'a key with half a character': raw('a\ud800'),
  'a key over its limit': raw('k'.repeat(limits.keyBytesMax + 1)),
  'a container that is no encoding': raw('a', { container: 'state:a b' }),
  'no container': raw('a', { container: '' }),
  'a container over its limit': raw('a', { container: `state:${'c'.repeat(limits.containerBytesMax)}` }),
  'an entity that is no encoding': raw('a', { entity: 'a\nb' }),
  'an entity over its limit': raw('a', { entity: 'e'.repeat(limits.entityBytesMax + 1) }),
};

/** Rows at the very limits. */
const sound: readonly RawRow[] = [
  raw('!n1b1'),
  raw('!tuser!n1c42'),
  raw('deep', { row: row({ value: json(nested(limits.valueLevelsMax)) }) }),
  raw('flat', { row: row({ value: json(`"${'[{\\"'.repeat(1_000)}"`) }) }),
  raw('k'.repeat(limits.keyBytesMax)),
  raw('long', { row: row({ value: json(`"${'x'.repeat(limits.valueBytesMax - 2)}"`) }) }),
  raw('max', { row: row({ value: number(2n ** 63n - 1n), version: String(2n ** 63n - 1n) }) }),
  raw('min', { row: row({ value: number(-(2n ** 63n)), version: '1' }) }),
  raw('none', { row: row({ value: bytes() }) }),
  raw('old', { row: row({ updatedAt: 0 }) }),
];

export const rawRowClauses: readonly Clause[] = [
  {
    name: 'An import refuses a row that could not be read back with STORAGE_CORRUPT, and names it: invalid times, versions, numbers, JSON and addresses.',
    law: 14,
    broken: breaks('silently omits rows of an import that it cannot read back', (provider) => ({
      administration: {
        ...provider.administration,
        import: async (database, rows) => {
          let count = 0;
          for await (const each of rows) {
            count += await provider.administration.import(database, [each]).catch(() => 0);
          }
          return count;
        },
      },
    })),
    async run(subject) {
      const database = subject.database();
      const { administration } = subject.provider;
      for (const [what, each] of Object.entries(damaged)) {
        try {
          await administration.import(database, [each]);
          assert.fail(`an import took ${what}`);
        } catch (error) {
          if (!isStorageError(error, 'STORAGE_CORRUPT')) throw error;
          assert.ok(error.place !== '', `it names no place of ${what}`);
        }
      }
      assert.deepEqual(await subject.scanKeys(), [], 'a row that was refused is there all the same');
    },
  },
  {
    name: 'An import refuses a position in the feed that no provider gives with STORAGE_CORRUPT: one row could use up the positions of all later ones.',
    law: 14,
    broken: breaks('imports rows whose positions are too large at a smaller one', (provider) => ({
      administration: {
        ...provider.administration,
        import: async (database, rows) => {
          const all: RawRow[] = [];
          for await (const each of rows)
            all.push({ ...each, row: { ...each.row, position: '1'.repeat(32) } });
          return await provider.administration.import(database, all);
        },
      },
    })),
    async run(subject) {
      const { administration } = subject.provider;
      for (const position of [feedEnd, '7fffffffffffffff'.repeat(2)]) {
        const tooLarge = raw('a', { row: row({ position }) });
        await assertRejects('STORAGE_CORRUPT', `an import of the position ${position}`, () =>
          administration.import(subject.database(), [tooLarge]),
        );
      }
      assert.deepEqual(await subject.scanKeys(), [], 'a row that was refused is there all the same');
    },
  },
  {
    name: 'An import accepts rows at the limits, and they are read back unchanged.',
    law: 13,
    broken: breaks('refuses JSON that is nested more than a hundred levels deep', (provider) => ({
      administration: {
        ...provider.administration,
        import: async (database, rows) => {
          const all: RawRow[] = [];
          for await (const each of rows) all.push(each);
          const shallow = all.filter(
            ({ row: { value } }) => value.kind !== 'json' || !value.text.startsWith('['.repeat(101)),
          );
          return await provider.administration.import(database, shallow);
        },
      },
    })),
    async run(subject) {
      const database = subject.database();
      const { administration } = subject.provider;
      assert.equal(await administration.import(database, sound), sound.length);
      const found: RawRow[] = [];
      for await (const each of administration.export(database)) found.push(each);
      const inOrder = sound.toSorted((one, other) => (one.key < other.key ? -1 : 1));
      assert.deepEqual(found.map(comparableRow), inOrder.map(comparableRow));
    },
  },
];

/** Bytes are bytes, whether in a `Buffer` or not. */
const comparableRow = ({ row: { value, ...times }, ...address }: RawRow): unknown => ({
  ...address,
  ...times,
  value: value.kind === 'bytes' ? [...value.bytes] : value,
});
