import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { RowEffect } from '../../../core/port/evaluate-batch.js';
import type { Row, StoredValue } from '../../../core/port/storage-provider.js';
import { headerLine, readHeaderLine, readJournalLine, seedOf, type JournalLine } from './journal-line.js';
import { writtenLine } from './spec-support.js';
import { readEffect, RowTexts } from './row-text.js';

const name = fc.string({ unit: 'grapheme', maxLength: 12 });
const value: fc.Arbitrary<StoredValue> = fc.oneof(
  fc.json().map((text) => ({ kind: 'json' as const, text })),
  fc.string({ unit: 'binary' }).map((text) => ({ kind: 'json' as const, text })),
  fc.uint8Array().map((bytes) => ({ kind: 'bytes' as const, bytes })),
  fc
    .bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
    .map((number) => ({ kind: 'number' as const, number })),
);
const row: fc.Arbitrary<Row> = fc.record(
  {
    version: fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }).map(String),
    value,
    updatedAt: fc.double({ noNaN: true, noDefaultInfinity: true }).map((time) => time + 0),
    expiresAt: fc.nat(),
    ttlMs: fc.nat(),
  },
  { requiredKeys: ['version', 'value', 'updatedAt'], noNullPrototype: true },
);
const effect: fc.Arbitrary<RowEffect> = fc.record(
  {
    address: fc.record({ container: name, entity: name, key: name }, { noNullPrototype: true }),
    row: fc.option(row, { nil: undefined }),
  },
  { noNullPrototype: true },
);

const seed = seedOf(headerLine({ database: 'tenant:acme', generation: 1, after: 0 }, 'id'));
const written = (line: JournalLine): Buffer => writtenLine(line, seed);
const text = (json: string): Row => ({ version: '1', value: { kind: 'json', text: json }, updatedAt: 1 });
const address = { container: 'state:x', entity: 'e', key: ',"json":' };

describe('a line of a journal', () => {
  it('restores rows of every kind exactly', () => {
    fc.assert(
      fc.property(fc.array(effect, { maxLength: 4 }), (effects) => {
        const line = { kind: 'commit' as const, number: 7, onDisk: 6, time: 5, effects };
        const bytes = written(line);
        expect(bytes.includes('\n')).toBe(false);
        expect(readJournalLine(bytes, seed)).toEqual(line);
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    '{"10":1,"9":2,"a":0.10000000000000000000001,"n":123456789012345678901234567890,"a":2}',
    ' { "spaced" : [ ] } ',
    '"\\ud800 \\u0000 \u2028 ,\\"json\\":"',
    '{"json":{"json":1}}',
    '{"__proto__":1}',
    'null',
  ])('embeds JSON unchanged, readable: %s', (json) => {
    const line = new RowTexts().of({ address, row: text(json) });
    expect(line.endsWith(`,"json":${json}}`)).toBe(true);
    expect(() => JSON.parse(line) as unknown).not.toThrow();
    expect(readEffect(Buffer.from(line)).row).toEqual(text(json));
  });

  it.each(['{"a":\n1}', '{"a":\r1}', 'no json', '', '"\ud800"', '}'])(
    'keeps as a string what would break the line or not survive in it: %j',
    (json) => {
      const line = new RowTexts().of({ address, row: text(json) });
      expect(() => JSON.parse(line) as unknown).not.toThrow();
      expect(readEffect(Buffer.from(line)).row).toEqual(text(json));
    },
  );

  it('is found damaged if any byte is changed, removed or cut off', () => {
    const whole = written({
      kind: 'commit',
      number: 1,
      onDisk: 0,
      time: 1,
      effects: [{ address, row: text('{"title":"Tea"}') }],
    });
    for (let at = 0; at < whole.length; at += 1) {
      const changed = Buffer.from(whole);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(readJournalLine(changed, seed)).toBeUndefined();
      expect(readJournalLine(whole.subarray(0, at), seed)).toBeUndefined();
      expect(
        readJournalLine(Buffer.concat([whole.subarray(0, at), whole.subarray(at + 1)]), seed),
      ).toBeUndefined();
    }
  });

  it('is damaged in another journal', () => {
    const line = written({ kind: 'note', onDisk: 3 });
    expect(readJournalLine(line, seed)).toEqual({ kind: 'note', onDisk: 3 });
    expect(
      readJournalLine(
        line,
        seedOf(headerLine({ database: 'tenant:acme', generation: 1, after: 0 }, 'another')),
      ),
    ).toBeUndefined();
  });

  it.each([
    { kind: 'note', onDisk: 3 } as const,
    { kind: 'next', onDisk: 3, generation: 4 } as const,
    { kind: 'end', onDisk: 3 } as const,
  ])('may be a mark: %j', (mark) => {
    expect(readJournalLine(written(mark), seed)).toEqual(mark);
  });

  it('comes after a header that names the database', () => {
    const header = Buffer.from(headerLine({ database: 'tenant:"\u00e9', generation: 12, after: 7 }, 'id'));
    expect(readHeaderLine(header)).toMatchObject({ format: 1, database: 'tenant:"\u00e9', generation: 12 });
    expect(readHeaderLine(header.subarray(0, -1))).toBeUndefined();
  });
});
