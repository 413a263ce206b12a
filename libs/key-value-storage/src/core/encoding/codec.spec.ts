import { deepStrictEqual } from 'node:assert';
import { statSync } from 'node:fs';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { decodeStored, encodeValue, mayHoldTags, parseStored, reviveFrozen } from './codec.js';
import { isStorageError } from '../base/errors.js';
import { rowLine } from '../port/row-line.js';
import type { StoredValue } from '../port/storage-provider.js';
import { EncodedJson } from './encoded-json.js';

const encode = (value: unknown, options: { prototype?: object; schemaVersion?: number } = {}) =>
  encodeValue(value, () => 'thing "a"', {
    prototype: options.prototype,
    schemaVersion: options.schemaVersion ?? 1,
  }).text;
const decode = (text: string): unknown => reviveFrozen(parseStored(text).json, mayHoldTags(text)).value;
const roundTrip = (value: unknown): unknown => decode(encode(value));

const name = fc.oneof(
  fc.string(),
  fc.constantFrom(
    '$date',
    '$$date',
    '$v',
    '$value',
    '$ref',
    '__proto__',
    'constructor',
    '$undefined',
    '$$$set',
  ),
);
const anything = fc.letrec((tie) => ({
  leaf: fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.double(),
    fc.integer(),
    fc.boolean(),
    fc.bigInt(),
    fc.constantFrom(null, undefined, -0, NaN, Infinity, -Infinity, '\ud800', '\u0000'),
    fc.date({ noInvalidDate: true }),
    fc.uint8Array(),
  ),
  value: fc.oneof(
    { depthSize: 'small' },
    tie('leaf'),
    fc.array(tie('value')),
    fc.dictionary(name, tie('value'), { noNullPrototype: true }),
    fc.array(fc.tuple(tie('value'), tie('value'))).map((pairs) => new Map(pairs)),
    fc.array(tie('value')).map((items) => new Set(items)),
  ),
})).value;

describe('the codec', () => {
  it('restores every value that it accepts', () => {
    fc.assert(
      fc.property(anything, (value) => {
        fc.pre(value !== undefined);
        deepStrictEqual(roundTrip(value), value);
      }),
      { numRuns: 500 },
    );
  });

  it('writes one line of JSON, whatever the value is: as EncodedJson it is written to files unchecked', () => {
    const line = (value: StoredValue): string =>
      rowLine({ container: 'c', entity: 'e', key: 'k', row: { version: '1', updatedAt: 1, value } });
    fc.assert(
      fc.property(anything, fc.integer({ min: 1, max: 2 }), (value, schemaVersion) => {
        fc.pre(value !== undefined);
        const text = encode(value, { schemaVersion });
        expect(line(new EncodedJson(text))).toBe(line({ kind: 'json', text }));
      }),
      { numRuns: 500 },
    );
  });

  it('distinguishes undefined, null, absent, −0 and NaN', () => {
    const value = { list: [undefined, null], undef: undefined, zero: -0, nan: NaN };
    const restored = roundTrip(value) as typeof value;
    expect(Object.keys(restored)).toEqual(['list', 'undef', 'zero', 'nan']);
    expect(restored.list).toEqual([undefined, null]);
    expect(Object.is(restored.zero, -0)).toBe(true);
    expect(restored.nan).toBeNaN();
  });

  it('writes plain JSON as JSON.stringify does, names that begin with $ included', () => {
    expect(encode({ $ref: '#/a', b: [1, 'x', null, { c: true }] })).toBe(
      '{"$ref":"#/a","b":[1,"x",null,{"c":true}]}',
    );
    fc.assert(
      fc.property(fc.jsonValue(), (json) => {
        const text = JSON.stringify(json);
        fc.pre(!text.includes('"$'));
        expect(encode(JSON.parse(text))).toBe(text);
      }),
    );
  });

  it('keeps a property named __proto__ as a property', () => {
    const value = JSON.parse('{"__proto__":{"polluted":true},"since":0}') as object;
    Object.assign(value, { at: new Date(0) });
    const restored = roundTrip(value) as object;
    expect(Object.getPrototypeOf(restored)).toBe(Object.prototype);
    expect(Object.keys(restored)).toEqual(['__proto__', 'since', 'at']);
    expect('polluted' in restored).toBe(false);
  });

  it('returns objects and arrays that are frozen at every level', () => {
    const value = roundTrip({ list: [{ a: 1 }], at: new Map([['k', { deep: [1] }]]) }) as {
      list: { a: number }[];
      at: Map<string, { deep: number[] }>;
    };
    for (const part of [value, value.list, value.list[0], value.at.get('k'), value.at.get('k')?.deep])
      expect(Object.isFrozen(part)).toBe(true);
  });

  it('freezes the value it has encoded when that is first read, and the text does not depend on it', () => {
    const given = { list: [{ a: 1 }], b: { c: null } };
    const encoded = encodeValue(given, () => 'it', { schemaVersion: 2 });
    given.list.push({ a: 2 });
    const { value } = encoded as { value: { list: { a: number }[]; b: object } };
    expect(value).toEqual({ list: [{ a: 1 }], b: { c: null } });
    for (const part of [value, value.list, value.list[0], value.b]) expect(Object.isFrozen(part)).toBe(true);
    expect(encoded.value).toBe(value);
    expect(encoded.text).toBe('{"$v":2,"list":[{"a":1}],"b":{"c":null}}');
    expect(Object.isFrozen(given)).toBe(false);
  });

  it('returns new dates, maps, sets and bytes from each read', () => {
    const text = encode({ at: new Date(5) });
    (decode(text) as { at: Date }).at.setTime(9);
    expect((decode(text) as { at: Date }).at.getTime()).toBe(5);
    expect(reviveFrozen(parseStored(text).json, true).shareable).toBe(false);
    expect(reviveFrozen(parseStored('{"a":[1]}').json, true).shareable).toBe(true);
  });

  class Money {
    constructor(readonly cents: number) {}
  }
  const cycle: { self?: unknown } = {};
  cycle.self = { inner: cycle };
  it.each([
    ['a function', { run: () => 1 }, ['run']],
    ['a symbol', { list: [1, Symbol('s')] }, ['list', 1]],
    ['a cycle', cycle, ['self', 'inner']],
    ['an invalid date', { at: [{ on: new Date(NaN) }] }, ['at', 0, 'on']],
    ['a hole in an array', { list: [1, , 2] }, ['list', 1]],
    ['an instance of a class', { price: new Money(5) }, ['price']],
    ['a regular expression', { pattern: /x/ }, ['pattern']],
    ['a symbol as a name', { deep: { [Symbol('s')]: 1 } }, ['deep']],
    ['a symbol as a name in an array', { deep: Object.assign([1], { [Symbol('s')]: 1 }) }, ['deep']],
    ['a hidden property of an array', { deep: Object.defineProperty([1], 'hidden', { value: 1 }) }, ['deep']],
    ['a function inside a map', { map: new Map([['k', { f: () => 1 }]]) }, ['map', 0, 'f']],
    ['undefined', undefined, []],
    ['an array with an additional property', { list: Object.assign([1], { x: 5 }) }, ['list']],
    ['a match of a regular expression', { found: 'm'.match(/(?<g>m)/) }, ['found']],
    ['a subclass of Array', { list: new (class extends Array {})() }, ['list']],
    ['a subclass of Map', { map: new (class extends Map {})() }, ['map']],
    ['a Buffer', { hash: Buffer.from('a') }, ['hash']],
    ['a subclass of Uint8Array', { bytes: new (class extends Uint8Array {})(1) }, ['bytes']],
    [
      'bytes with a property named by a symbol',
      { bytes: Object.assign(new Uint8Array(1), { [Symbol('s')]: 1 }) },
      ['bytes'],
    ],
    ['another typed array', { list: [new Float64Array(1)] }, ['list', 0]],
    ['an ArrayBuffer', { a: new ArrayBuffer(1) }, ['a']],
    ['a SharedArrayBuffer', { a: new SharedArrayBuffer(1) }, ['a']],
    ['a DataView', { a: new DataView(new ArrayBuffer(1)) }, ['a']],
    ['a boxed number', { a: Object(1) as unknown }, ['a']],
    ['a boxed text', { a: Object('a') as unknown }, ['a']],
    ['an error', { a: new Error('x') }, ['a']],
    ['a promise', { a: Promise.resolve(1) }, ['a']],
    ['a weak map', { a: new WeakMap() }, ['a']],
    ['a subclass of Date', { at: new (class extends Date {})(0) }, ['at']],
    ['a subclass of Set', { set: new (class extends Set {})() }, ['set']],
    [
      'an object with the string tag of a map',
      { a: Object.create({ [Symbol.toStringTag]: 'Map' }) as object },
      ['a'],
    ],
    ['a list without a prototype', { a: Object.setPrototypeOf([1], null) as unknown }, ['a']],
    ['a date without a prototype', { a: Object.setPrototypeOf(new Date(0), null) as unknown }, ['a']],
    ['a date with an additional property', { at: Object.assign(new Date(0), { tz: 'x' }) }, ['at']],
    ['a property that is not enumerable', { a: Object.defineProperty({ b: 1 }, 'c', { value: 2 }) }, ['a']],
    [
      'a property of a prototype without a prototype',
      { a: Object.create(Object.assign(Object.create(null) as object, { b: 1 })) as object },
      ['a'],
    ],
    [
      'a value that is nested too deeply',
      { deep: Array.from({ length: 3_000 }).reduce<unknown>((inner) => [inner], 1) },
      ['deep', ...Array.from({ length: 499 }, () => 0)],
    ],
  ])('refuses %s and names its path', (_, value, path) => {
    let caught: unknown;
    try {
      encode(value);
    } catch (error) {
      caught = error;
    }
    expect(isStorageError(caught, 'INVALID_VALUE') && caught.issues[0]?.path).toEqual(path);
    // a long path is shortened in the message, not in the issues
    expect(String(caught)).toContain(path.length === 0 ? 'the value' : path.join('.').slice(0, 100));
  });

  it('accepts dates, maps, sets, bytes, lists and objects of another realm', () => {
    const foreign = runInNewContext(
      '({ at: new Date(5), map: new Map([["a", new Set([1])]]), bytes: Uint8Array.of(1, 2), list: [1, undefined], plain: { n: -0 } })',
    ) as object;
    expect(foreign instanceof Object).toBe(false);
    expect(roundTrip(foreign)).toEqual({
      at: new Date(5),
      map: new Map([['a', new Set([1])]]),
      bytes: Uint8Array.of(1, 2),
      list: [1, undefined],
      plain: { n: -0 },
    });
    expect(roundTrip(structuredClone(new Map([['k', new Date(7)]])))).toEqual(new Map([['k', new Date(7)]]));
    expect(roundTrip({ changed: statSync(process.execPath).mtime })).toEqual({
      changed: new Date(statSync(process.execPath).mtimeMs),
    });
    for (const instance of [
      'new (class D extends Date {})()',
      'new (class B extends Uint8Array {})(1)',
      'new (class M extends Map {})()',
    ])
      expect(() => encode({ it: runInNewContext(instance) as unknown })).toThrow('it: ');
  });

  it('restores an object without a prototype as an ordinary object', () => {
    expect(Object.getPrototypeOf(roundTrip(Object.assign(Object.create(null) as object, { a: 1 })))).toBe(
      Object.prototype,
    );
  });

  it('accepts the same object at two places: that is no cycle', () => {
    const shared = { a: 1 };
    expect(roundTrip({ one: shared, two: [shared] })).toEqual({ one: { a: 1 }, two: [{ a: 1 }] });
  });

  it('accepts instances of the given class, without a call of toJSON', () => {
    class Product {
      title = 'Mug';
      toJSON() {
        return 'toJSON was called';
      }
    }
    expect(encode(new Product(), { prototype: Product.prototype })).toBe('{"title":"Mug"}');
    expect(() => encode({ inner: new Product() }, { prototype: Product.prototype })).toThrow('inner');
  });

  it('writes the schema version first, and reads it back, for objects and for other values', () => {
    expect(encode({ a: 1 }, { schemaVersion: 2 })).toBe('{"$v":2,"a":1}');
    expect(encode([1], { schemaVersion: 2 })).toBe('{"$v":2,"$value":[1]}');
    expect(encode(new Date(0), { schemaVersion: 3 })).toBe(
      '{"$v":3,"$value":{"$date":"1970-01-01T00:00:00.000Z"}}',
    );
    fc.assert(
      fc.property(anything, fc.integer({ min: 2, max: 9 }), (value, schemaVersion) => {
        fc.pre(value !== undefined);
        const stored = parseStored(encode(value, { schemaVersion }));
        expect(stored.schemaVersion).toBe(schemaVersion);
        deepStrictEqual(reviveFrozen(stored.json, true).value, value);
      }),
    );
  });

  const bothWays = (text: string) => [
    decodeStored({ text }),
    decodeStored({ text: 'not read', take: () => JSON.parse(text) as unknown }),
  ];

  it('decodes what a provider has parsed like the text, frozen', () => {
    fc.assert(
      fc.property(anything, fc.integer({ min: 1, max: 9 }), (value, schemaVersion) => {
        fc.pre(value !== undefined);
        for (const decoded of bothWays(encode(value, { schemaVersion })))
          deepStrictEqual(decoded, { schemaVersion, value });
      }),
    );
    for (const { value } of bothWays('{"$v":2,"a":{"b":[{"c":1}]}}')) {
      const { a } = value as { a: { b: readonly object[] } };
      expect([value, a, a.b, a.b[0]].every((part) => Object.isFrozen(part))).toBe(true);
    }
  });

  it.each(['{"$date":"soon"}', '{"$v":0}', '{"a":{"$set":{}}}', '['.repeat(600) + ']'.repeat(600)])(
    'reports %s as damage in both',
    (text) => {
      const parsed = (): unknown => JSON.parse(text) as unknown;
      expect(() => decodeStored({ text })).toThrow(SyntaxError);
      expect(() => decodeStored({ text, take: parsed })).toThrow(SyntaxError);
    },
  );

  it('reads the text where what was parsed is taken already', () => {
    expect(decodeStored({ text: '[1]', take: () => undefined }).value).toEqual([1]);
  });

  it('does not read a property of the user as a schema version', () => {
    expect(parseStored(encode({ $v: 7, a: 1 })).schemaVersion).toBe(1);
    expect(roundTrip({ $v: 7, a: 1 })).toEqual({ $v: 7, a: 1 });
  });

  it.each([
    '{"$value":1}',
    '{"$map":5}',
    '{"$map":[1]}',
    '{"$set":{}}',
    '{"$date":"soon"}',
    '{"$number":"many"}',
    '{"$bigint":1}',
    '{"$bytes":"?"}',
  ])('reports %s as damage', (text) => {
    expect(() => reviveFrozen(JSON.parse(text), true)).toThrow(SyntaxError);
  });

  const nest = (levels: number, wrap: (inner: unknown) => unknown): unknown => {
    let value: unknown = 1;
    for (let level = 0; level < levels; level += 1) value = wrap(value);
    return value;
  };

  it.each([
    ['objects', 500, (inner: unknown) => ({ inner })],
    ['arrays', 500, (inner: unknown) => [inner]],
    ['maps, each a tag and a pair', 166, (inner: unknown) => new Map([[1, inner]])],
    ['sets, each a tag', 250, (inner: unknown) => new Set([inner])],
  ])('accepts 500 levels of JSON, of %s, and not more', (_, levels, wrap) => {
    deepStrictEqual(roundTrip(nest(levels, wrap)), nest(levels, wrap));
    expect(() => encode(nest(levels + 1, wrap))).toThrow('nested deeper than 500 levels');
  });

  it.each(['[', '{"a":', '{"$set":[', '{"$map":[[1,', '{"$date":'])(
    'reports 200,000 levels of %s as damage, without a stack overflow',
    (open) => {
      const close = [...open]
        .reverse()
        .join('')
        .replace(/[^[{]/g, '')
        .replaceAll('[', ']')
        .replaceAll('{', '}');
      const json = JSON.parse(`${open.repeat(200_000)}1${close.repeat(200_000)}`) as unknown;
      for (const tagged of [true, false]) expect(() => reviveFrozen(json, tagged)).toThrow(SyntaxError);
    },
  );

  it.each(['{"$v":"1","a":1}', '{"$v":1e400}', '{"$v":0}', '{"$v":[2]}', '{"$v":1.5}'])(
    'reports the schema version of %s as damage',
    (text) => {
      expect(() => parseStored(text)).toThrow(SyntaxError);
    },
  );
});
