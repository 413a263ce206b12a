import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { DeferredJson } from '../encoding/encoded-json.js';
import { readRowLine, rowLine } from './row-line.js';
import type { RawRow, Row, StoredValue } from './storage-provider.js';

const raw = (value: StoredValue, more: Partial<Row> = {}): RawRow => ({
  container: 'state:state',
  entity: 'product',
  key: 'mug',
  row: { version: '7', value, updatedAt: 1_000, ...more },
});
const json = (text: string): RawRow => raw({ kind: 'json', text });

const anyValue: fc.Arbitrary<StoredValue> = fc.oneof(
  fc.oneof(fc.json(), fc.string({ unit: 'binary' })).map((text) => ({ kind: 'json' as const, text })),
  fc.uint8Array().map((bytes) => ({ kind: 'bytes' as const, bytes })),
  fc
    .bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
    .map((number) => ({ kind: 'number' as const, number })),
);
const anyText = fc.string({ unit: 'binary' });
const anyRow: fc.Arbitrary<RawRow> = fc.record({
  container: anyText,
  entity: anyText,
  key: anyText,
  row: fc.record(
    {
      version: fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }).map(String),
      value: anyValue,
      updatedAt: fc.nat(),
      expiresAt: fc.nat(),
      ttlMs: fc.nat(),
    },
    { requiredKeys: ['version', 'value', 'updatedAt'] },
  ),
});

/** Written as a line of UTF-8, and read again. */
function throughAFile(row: RawRow): RawRow {
  const bytes = new TextEncoder().encode(`${rowLine(row)}\n`);
  const [line = '', ...more] = new TextDecoder().decode(bytes).split('\n');
  expect(more).toEqual(['']);
  return readRowLine(line);
}

describe('a row as a line', () => {
  it('is readable: JSON stands in it as it came', () => {
    expect(rowLine(json('{"b":1.0,"a":12345678901234567890}'))).toBe(
      '{"container":"state:state","entity":"product","key":"mug","version":"7","updatedAt":1000,"json":{"b":1.0,"a":12345678901234567890}}',
    );
  });

  it('comes back the same, whatever it holds, and is one line of UTF-8', () => {
    fc.assert(
      fc.property(anyRow, (row) => {
        expect(throughAFile(row)).toEqual(row);
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ['a line feed between tokens', '{\n"a":1}'],
    ['no JSON', 'never'],
    ['a lone surrogate', '"\ud800"'],
    ['what looks like the end of the address', '{"a":",\\"json\\":"}'],
  ])('comes back with %s', (_, text) => {
    expect(throughAFile(json(text))).toEqual(json(text));
  });

  it('of another row is another line', () => {
    const rows = [
      json('1'),
      json('"1"'),
      json('1 '),
      raw({ kind: 'number', number: 1n }),
      raw({ kind: 'bytes', bytes: Uint8Array.of(1) }),
      raw({ kind: 'json', text: '1' }, { version: '8' }),
      raw({ kind: 'json', text: '1' }, { updatedAt: 1_001 }),
      raw({ kind: 'json', text: '1' }, { expiresAt: 5 }),
      raw({ kind: 'json', text: '1' }, { ttlMs: 5 }),
      { ...json('1'), key: 'm' },
      { ...json('1'), entity: 'productm', key: 'ug' },
      { ...json('1'), container: 'state:stateproduct', entity: '' },
    ];
    expect(new Set(rows.map(rowLine)).size).toBe(rows.length);
  });

  it.each([
    ['', 'JSON'],
    ['{"container":"c"}', 'address'],
    ['{"container":"c","entity":"e","version":"1","updatedAt":1,"json":1}', 'address'],
    ['{"container":"c","entity":"e","key":"k","version":"0","updatedAt":1,"json":1}', 'version'],
    ['{"container":"c","entity":"e","key":"k","version":"1","updatedAt":"1","json":1}', 'updatedAt'],
    ['{"container":"c","entity":"e","key":"k","version":"1","updatedAt":1,"number":"1.5"}', 'value'],
    ['{"container":"c","entity":"e","key":"k","version":"1","updatedAt":1,"bytes":"?"}', 'base64'],
  ])('is refused where it is none: %s', (line, what) => {
    expect(() => readRowLine(line)).toThrow(SyntaxError);
    expect(() => readRowLine(line)).toThrow(what);
  });

  it('is not made of a row whose value was left out', () => {
    const { row, ...address } = json('1');
    expect(() => rowLine({ ...address, row: { ...row, value: { kind: 'omitted' } } })).toThrow(TypeError);
  });

  it('has the text of a deferred value, which is made once, when it is first read', () => {
    let made = 0;
    const value = new DeferredJson(() => `{"made":${(made += 1)}}`, 20);
    expect([value.lengthMax, made]).toEqual([20, 0]);
    expect(rowLine(raw(value))).toBe(rowLine(json('{"made":1}')));
    expect([rowLine(raw(value)), made]).toEqual([rowLine(json('{"made":1}')), 1]);
  });
});
