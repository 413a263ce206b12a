import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeKey, encodeKey, encodeRange } from './key-encoding.js';
import type { Key, KeyPart } from '../base/key.js';
import { limits } from '../base/limits.js';

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 8 }),
  // any UTF-16, lone surrogates included
  fc
    .array(
      fc.oneof(
        fc.integer({ min: 0, max: 0xffff }),
        fc.constantFrom(0, 0x21, 0x22, 0x23, 0xd7fe, 0xd7ff, 0xd800, 0xdfff, 0xe000),
      ),
      {
        maxLength: 6,
      },
    )
    .map((units) => String.fromCharCode(...units)),
);
const number = fc.oneof(
  fc.double({ noNaN: true }),
  fc.integer(),
  fc.constantFrom(0, 1e21, 1e-7, 5e-324, Number.MAX_VALUE, Infinity, -Infinity, 10, 100, -10, 0.1),
);
const bigint = fc.oneof(
  fc.bigInt(),
  fc.bigInt(-20n, 20n),
  fc.constantFrom(10n ** 21n, 10n ** 22n, -(10n ** 40n)),
);
const part: fc.Arbitrary<KeyPart> = fc.oneof(
  text,
  number,
  bigint,
  fc.boolean(),
  fc.uint8Array({ maxLength: 5 }),
);
const key: fc.Arbitrary<Key> = fc.oneof(
  text.filter((it) => it !== ''),
  fc.array(part, { minLength: 1, maxLength: 4 }),
);

// ─── the order of keys, implemented a second time

const rank = (it: KeyPart): number => {
  if (typeof it === 'boolean') return it ? 5 : 4;
  return it instanceof Uint8Array ? 0 : typeof it === 'bigint' ? 1 : typeof it === 'number' ? 2 : 3;
};
const compareLists = <T>(a: readonly T[], b: readonly T[], compare: (x: T, y: T) => number): number => {
  for (let index = 0; index < Math.min(a.length, b.length); index += 1) {
    const order = compare(a[index] as T, b[index] as T);
    if (order !== 0) return order;
  }
  return a.length - b.length;
};
const codePoints = (it: string): readonly number[] =>
  Array.from(it, (character) => character.codePointAt(0) as number);
const compareTexts = (a: string, b: string): number =>
  compareLists(codePoints(a), codePoints(b), (x, y) => x - y);

function compareParts(a: KeyPart, b: KeyPart): number {
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  if (typeof a === 'string') return compareTexts(a, b as string);
  if (a instanceof Uint8Array) return compareLists([...a], [...(b as Uint8Array)], (x, y) => x - y);
  return a === b ? 0 : a < b ? -1 : 1;
}

function compareKeys(a: Key, b: Key): number {
  if (typeof a === 'string') return typeof b === 'string' ? compareTexts(a, b) : 1;
  return typeof b === 'string' ? -1 : compareLists(a, b, compareParts);
}

const inOrder = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

describe('an encoded key', () => {
  test('is decoded to the same key, with −0 as 0', () => {
    fc.assert(
      fc.property(key, (original) => {
        const expected = typeof original === 'string' ? original : original.map((it) => (it === 0 ? 0 : it));
        expect(decodeKey(encodeKey(original))).toEqual(expected);
      }),
      { numRuns: 2_000 },
    );
  });

  test('sorts as the key does, in JavaScript and as UTF-8 bytes, so different keys stay different', () => {
    fc.assert(
      fc.property(key, key, (a, b) => {
        const [left, right] = [encodeKey(a), encodeKey(b)];
        const expected = Math.sign(compareKeys(a, b));
        expect(inOrder(left, right)).toBe(expected);
        expect(Buffer.compare(Buffer.from(left), Buffer.from(right))).toBe(expected);
      }),
      { numRuns: 5_000 },
    );
  });

  test('sorts numbers and bigints by value, however close they are', () => {
    for (const kind of [number, bigint] as fc.Arbitrary<KeyPart>[]) {
      fc.assert(
        fc.property(fc.array(kind, { minLength: 2, maxLength: 20 }), (numbers) => {
          const sorted = numbers.toSorted(compareParts).map((it) => encodeKey([it]));
          expect(sorted).toEqual(sorted.toSorted());
        }),
        { numRuns: 1_000 },
      );
    }
  });

  test('contains neither NUL nor a lone surrogate, and is readable for ordinary keys', () => {
    fc.assert(
      fc.property(key, (original) => {
        const encoded = encodeKey(original);
        expect(encoded).not.toContain('\0');
        expect(Buffer.from(encoded).toString()).toBe(encoded);
      }),
    );
    expect([
      encodeKey('mug'),
      encodeKey('user/42@example.org'),
      encodeKey(['user', 42]),
      encodeKey(['a', true]),
    ]).toEqual(['mug', 'user/42@example.org', '!tuser!n1c42', '!ta!zt']);
  });

  test('encodes whole numbers, where it takes a fast path, as it encodes all numbers', () => {
    const texts = [1, 9, 10, 1_000, 4_200, 2 ** 53 - 1].map((number) => encodeKey([number]));
    expect(texts).toEqual(['!n1b1', '!n1b9', '!n1c10', '!n1e1000', '!n1e4200', '!n1q9007199254740991']);
    // as bigints, which take the other path, but for the letter of the type
    fc.assert(
      fc.property(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), (number) => {
        expect(encodeKey([number]).slice(2)).toBe(encodeKey([BigInt(number)]).slice(2));
      }),
    );
  });

  test('is decoded as undefined when no key is encoded like this', () => {
    for (const wrong of ['', '!', '!x', '!nabc', '!i1', '!b0', '!bzz', '!ta!', '!zx', 'a"', '"zz'])
      expect(decodeKey(wrong)).toBeUndefined();
  });
});

describe('an invalid key', () => {
  test.each([
    [''],
    [[]],
    [null],
    [undefined],
    [{}],
    [5],
    [Number.NaN],
    [[Number.NaN]],
    [[null]],
    [[['a']]],
    [[new Date(0)]],
  ])('is INVALID_KEY: %p', (wrong) => {
    expect(() => encodeKey(wrong as Key)).toThrow(expect.objectContaining({ code: 'INVALID_KEY' }));
  });

  test('is LIMIT_EXCEEDED from 1,025 encoded bytes on; 1,024 are allowed', () => {
    const max = limits.keyBytesMax;
    expect(encodeKey('a'.repeat(max))).toHaveLength(max);
    expect(() => encodeKey('a'.repeat(max + 1))).toThrow(/keyBytesMax/);
    expect(encodeKey('é'.repeat(max / 2))).toHaveLength(max / 2);
    expect(() => encodeKey(`${'é'.repeat(max / 2)}a`)).toThrow(/keyBytesMax/);
    expect(encodeKey(['a'.repeat(max - 2)])).toHaveLength(max);
    expect(() => encodeKey(['a'.repeat(max - 1)])).toThrow(/keyBytesMax/);
  });
});

describe('an encoded range', () => {
  const isInside = (candidate: Key, range: Parameters<typeof encodeRange>[0]): boolean => {
    const [encoded, { start, end }] = [encodeKey(candidate), encodeRange(range)];
    return (start === undefined || encoded >= start) && (end === undefined || encoded < end);
  };

  test('of a text prefix contains exactly the texts that begin with it', () => {
    fc.assert(
      fc.property(text, key, text, (prefix, other, rest) => {
        expect(isInside(other, { prefix })).toBe(
          typeof other === 'string' && other.startsWith(prefix) && isWhole(prefix, other),
        );
        if (prefix + rest !== '' && isWhole(prefix, prefix + rest))
          expect(isInside(prefix + rest, { prefix })).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  test('of a prefix of parts contains exactly the keys below it, without the prefix itself', () => {
    const parts = fc.array(part, { minLength: 1, maxLength: 2 });
    fc.assert(
      fc.property(parts, key, parts, (prefix, other, rest) => {
        const below =
          typeof other !== 'string' &&
          other.length > prefix.length &&
          prefix.every((it, index) => compareParts(it, other[index] as KeyPart) === 0);
        expect(isInside(other, { prefix })).toBe(below);
        expect(isInside([...prefix, ...rest], { prefix })).toBe(true);
        expect(isInside(prefix, { prefix })).toBe(false);
      }),
      { numRuns: 2_000 },
    );
  });

  test('includes its start and excludes its end, and is refused when the start is after the end', () => {
    fc.assert(
      fc.property(key, key, key, (a, b, other) => {
        const [start, end] = compareKeys(a, b) <= 0 ? [a, b] : [b, a];
        expect(isInside(other, { start, end })).toBe(
          compareKeys(other, start) >= 0 && compareKeys(other, end) < 0,
        );
        if (compareKeys(a, b) > 0)
          expect(() => encodeRange({ start: a, end: b })).toThrow(
            expect.objectContaining({ code: 'OUT_OF_RANGE' }),
          );
      }),
      { numRuns: 1_000 },
    );
  });
});

/** False when the prefix ends within a surrogate pair: then the character is a different one. */
const isWhole = (prefix: string, whole: string): boolean =>
  codePoints(prefix).every((code, index) => codePoints(whole)[index] === code);
