/**
 * Law 5, absent, null, empty and failed are four different things: a value is read back exactly as
 * it was stored. JSON text is compared by digests and must not be parsed and printed again; numbers
 * exceed the range of JavaScript's `number`.
 */
import assert from 'node:assert/strict';
import type { Address, Row, StoredValue } from '../../../provider.js';
import { breaks, changesChanges, changesReads, changesRows } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import { comparable, concurrently } from '../../kit/assertions.js';
import { bytes, json, number, put, remove } from '../../kit/batches.js';

const law = 5;

/** Stores a changed JSON text. */
const changesText = (fault: string, change: (text: string) => string) =>
  changesChanges(fault, (each) =>
    each.kind === 'put' && each.value.kind === 'json'
      ? { ...each, value: json(change(each.value.text)) }
      : each,
  );

/** JSON texts that a detour over parsed values would change. */
const texts = [
  ' { "b" : 1 ,\n "a" : 2 } ',
  '{"10":1,"2":2}',
  '1.0',
  '1e2',
  '-0',
  '123456789012345678901234567890',
  '0.1000000000000000055511151231257827',
  '"\\u00e9 \\/ \\u0041 \\t"',
  '"é ☃ 😀 \u2028 \u007f"',
  '"\\ud800 alone"',
  '{"a":1,"a":2}',
  '{"__proto__":{"x":1},"constructor":null}',
  '[[[[[[[[[[]]]]]]]]]]',
  '"--> \'quotes\' \\" $1 %s ; DROP TABLE rows"',
];

export const valueClauses: readonly Clause[] = [
  {
    name: 'No row, null, an empty text, an empty list, zero and no bytes are six different results.',
    law,
    broken: changesRows('treats null as no row', (row) =>
      row.value.kind === 'json' && row.value.text === 'null' ? undefined : row,
    ),
    async run(subject) {
      const values = [json('null'), json('""'), json('[]'), number(0), bytes()];
      const addresses = values.map((_, index) => subject.address(`value-${index}`));
      for (const [index, value] of values.entries()) await subject.putRow(addresses[index] as Address, value);
      const { rows } = await subject.provider.read([...addresses, subject.address('none')]);
      assert.deepEqual(
        rows.map((row) => comparable(row?.value)),
        [...values.map(comparable), undefined],
      );
      const page = await subject.scanPage();
      assert.deepEqual(
        page.rows.map(({ row }) => comparable(row.value)),
        values.map(comparable),
      );
    },
  },
  {
    name: 'JSON text is read back character for character.',
    law,
    broken: changesText('parses values and prints them again', (text) => JSON.stringify(JSON.parse(text))),
    async run(subject) {
      for (const [index, text] of texts.entries()) {
        const address = subject.address(`text-${index}`);
        await subject.putRow(address, text);
        assert.equal(await subject.readText(address), text);
        const page = await subject.scanPage({ start: address.key, limit: 1 });
        assert.deepEqual(page.rows[0]?.row.value, json(text));
      }
    },
  },
  {
    name: 'A text with an escaped NUL is read back unchanged.',
    law,
    broken: changesText('ends a text at a NUL', (text) => text.replace(/\\u0000.*/, '"')),
    async run(subject) {
      const address = subject.address('nul');
      await subject.putRow(address, '"a\\u0000b"');
      assert.equal(await subject.readText(address), '"a\\u0000b"');
    },
  },
  {
    name: 'Bytes are read back exactly: all 256 values, and an empty array.',
    law,
    broken: changesChanges('stores bytes as text', (change) =>
      change.kind === 'put' && change.value.kind === 'bytes'
        ? {
            ...change,
            value: {
              kind: 'bytes',
              bytes: new TextEncoder().encode(new TextDecoder().decode(change.value.bytes)),
            },
          }
        : change,
    ),
    async run(subject) {
      const all = bytes(...Array.from({ length: 256 }, (_, index) => index));
      for (const value of [bytes(), bytes(0), bytes(0, 0, 0), all]) {
        const address = subject.address('bytes');
        await subject.putRow(address, value);
        const stored = (await subject.readRow(address))?.value;
        assert.ok(stored?.kind === 'bytes' && stored.bytes instanceof Uint8Array);
        assert.deepEqual([...stored.bytes], [...(value as typeof stored).bytes]);
      }
    },
  },
  {
    name: 'Numbers are read back exactly, over all 64 bits.',
    law,
    broken: changesRows('converts numbers to floating point', (row) =>
      row.value.kind === 'number'
        ? { ...row, value: number(BigInt.asIntN(64, BigInt(Number(row.value.number)))) }
        : row,
    ),
    async run(subject) {
      const address = subject.address('number');
      for (const value of [0n, -1n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 63n - 1n, -(2n ** 63n)]) {
        await subject.putRow(address, number(value));
        assert.equal(await subject.readNumber(address), value);
      }
    },
  },
  {
    name: 'A value of 900 KB is read back, as text and as bytes.',
    law,
    broken: changesText('cuts values at 64 KB', (text) => text.slice(0, 65_536)),
    async run(subject) {
      const address = subject.address('large');
      const text = JSON.stringify('ä'.repeat((900 * 1_024 - 2) / 2));
      await subject.putRow(address, text);
      assert.ok((await subject.readText(address)) === text, 'a large text is changed');
      const large: StoredValue = {
        kind: 'bytes',
        bytes: new Uint8Array(900 * 1_024).map((_, index) => index * 31),
      };
      await subject.putRow(address, large);
      const stored = (await subject.readRow(address))?.value;
      assert.ok(
        stored?.kind === 'bytes' && Buffer.from(stored.bytes).equals(large.bytes),
        'large bytes are changed',
      );
    },
  },
  {
    name: 'Rows are returned in the order of the addresses, undefined for absent ones, and twice for an address that is given twice.',
    law,
    broken: changesReads('omits absent rows', ({ time, rows }) => ({
      time,
      rows: rows.filter((row) => row !== undefined),
    })),
    async run(subject) {
      const [a, b, c] = [subject.address('a'), subject.address('b'), subject.address('c')];
      const [first, third] = [await subject.putRow(a, '1'), await subject.putRow(c, '3')];
      const { rows } = await subject.provider.read([c, b, a, c, b]);
      assert.deepEqual(
        rows.map((row) => row?.version),
        [third, undefined, first, third, undefined],
      );
    },
  },
  {
    name: 'One read returns a thousand rows, over several databases and entities.',
    law,
    broken: breaks('reads the database of the first address only', (provider) => ({
      read: (addresses, options) =>
        provider.read(
          addresses.map((address) => ({ ...address, database: addresses[0]?.database ?? '' })),
          options,
        ),
    })),
    async run(subject) {
      const addresses = Array.from({ length: 1_000 }, (_, index) =>
        subject.address(`key-${index}`, {
          database: subject.database(index % 2 === 0 ? 'even' : 'odd'),
          entity: `thing-${index % 3}`,
        }),
      );
      for (const name of ['even', 'odd']) {
        const mine = addresses.filter(({ database }) => database === subject.database(name));
        await subject.mustCommit({
          database: subject.database(name),
          changes: mine.map((address) => put(address, `"${address.key}"`)),
        });
      }
      const { rows } = await subject.provider.read(addresses);
      assert.deepEqual(
        rows.map((row) => row?.value),
        addresses.map(({ key }) => json(`"${key}"`)),
      );
    },
  },
  {
    name: "With `values: 'omit'` each value is returned as omitted, and all else is unchanged.",
    law,
    broken: breaks('omits rows whose values are omitted', (provider) => ({
      read: async (addresses, options) => {
        const result = await provider.read(addresses, options);
        return options?.values === 'omit' ? { ...result, rows: result.rows.map(() => undefined) } : result;
      },
    })),
    async run(subject) {
      for (const [index, value] of [json('1'), number(1), bytes(1)].entries()) {
        const address = subject.address(`value-${index}`);
        await subject.putRow(address, value, 60_000);
        const full = (await subject.readRow(address)) as Row;
        const { rows } = await subject.provider.read([address, subject.address('none')], { values: 'omit' });
        assert.deepEqual(rows, [{ ...full, value: { kind: 'omitted' } }, undefined]);
        const page = await subject.scanPage({ start: address.key, limit: 1, values: 'omit' });
        assert.deepEqual(page.rows, [{ key: address.key, row: { ...full, value: { kind: 'omitted' } } }]);
      }
    },
  },
  {
    name: 'Deleting an absent row is no error: each delete reports that no row existed.',
    law,
    broken: breaks('refuses to delete an absent row', (provider) => ({
      commit: async (batches, options) => {
        const results = await provider.commit(batches, options);
        return results.map((result, index) => {
          const change = batches[index]?.changes[0];
          const missing =
            result.outcome === 'committed' && change?.kind === 'delete' && result.rows[0]?.existed === false;
          return missing
            ? { outcome: 'conflict', address: change.address, expected: 'present', actual: undefined }
            : result;
        });
      },
    })),
    async run(subject) {
      const address = subject.address('one');
      await subject.putRow(address, '1');
      const existed = [];
      for (let round = 0; round < 3; round += 1)
        existed.push((await subject.mustCommit({ changes: [remove(address)] })).rows[0]?.existed);
      assert.deepEqual(existed, [true, false, false]);
      assert.equal(await subject.readRow(address), undefined);
      await subject.putRow(address, '2');
      assert.equal(await subject.readText(address), '2');
    },
  },
  {
    name: 'Reads during concurrent writes and deletes see complete values.',
    law,
    broken: changesReads('returns the value of one row with the version of another', ({ time, rows }) => {
      const [first, ...others] = rows;
      return {
        time,
        rows: [first, ...others.map((row) => row && { ...row, value: first?.value ?? row.value })],
      };
    }),
    async run(subject) {
      const addresses = Array.from({ length: 8 }, (_, index) => subject.address(`row-${index}`));
      const written = new Map<string, string>();
      const writing = concurrently(120, async (index) => {
        const address = addresses[index % 8] as Address;
        if (index % 5 === 4) return void (await subject.mustCommit({ changes: [remove(address)] }));
        const version = subject.nextVersion();
        const text = JSON.stringify(String(index).repeat(100));
        written.set(version, text);
        await subject.mustCommit({ version, changes: [put(address, text)] });
      });
      const work = subject.inBackground(writing);
      const reads = await concurrently(60, () => subject.provider.read(addresses));
      await work;
      reads.push(await subject.provider.read(addresses));
      for (const row of reads.flatMap(({ rows }) => rows))
        if (row !== undefined) assert.deepEqual(row.value, json(written.get(row.version) as string));
    },
  },
  {
    name: 'A hundred rows that are written concurrently are all read back concurrently.',
    law,
    broken: changesReads('returns at most 64 rows', ({ time, rows }) => ({
      time,
      rows: rows.map((row, index) => (index < 64 ? row : undefined)),
    })),
    async run(subject) {
      const addresses = Array.from({ length: 100 }, (_, index) => subject.address(`key ${index}`));
      await concurrently(100, (index) => subject.putRow(addresses[index] as Address, String(index)));
      const [together, apart] = await Promise.all([
        subject.provider.read(addresses),
        concurrently(100, (index) => subject.readText(addresses[index] as Address)),
      ]);
      const expected = addresses.map((_, index) => String(index));
      assert.deepEqual(apart, expected);
      assert.deepEqual(
        together.rows.map((row) => (row?.value.kind === 'json' ? row.value.text : undefined)),
        expected,
      );
    },
  },
];
