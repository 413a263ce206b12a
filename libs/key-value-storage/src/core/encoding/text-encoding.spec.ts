import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeText, encodeText } from './text-encoding.js';
import { utf8Length } from '../base/utf8-length.js';

const edges = [
  0, 0x20, 0x21, 0x22, 0x23, 0x7f, 0x80, 0x7ff, 0x800, 0xd7fe, 0xd7ff, 0xd800, 0xdbff, 0xdc00, 0xdfff, 0xe000,
  0xffff,
];
const text = fc
  .array(fc.oneof(fc.constantFrom(...edges), fc.integer({ min: 0, max: 0xffff })), { maxLength: 12 })
  .map((units) => String.fromCharCode(...units));

test('every text is decoded to itself, with lone surrogates and NUL, and every single character', () => {
  fc.assert(
    fc.property(text, (original) => {
      expect(decodeText(encodeText(original))).toBe(original);
    }),
    { numRuns: 5_000 },
  );
  for (let code = 0; code <= 0xffff; code += 1) {
    const character = String.fromCharCode(code);
    if (decodeText(encodeText(character)) !== character)
      throw new Error(`U+${code.toString(16)} is decoded differently`);
  }
});

test('UTF-16, UTF-8 and code points agree on the order of encoded texts', () => {
  const points = (characters: string): readonly number[] =>
    Array.from(characters, (character) => character.codePointAt(0) as number);
  fc.assert(
    fc.property(text, text, (a, b) => {
      const [left, right] = [encodeText(a), encodeText(b)];
      const [x, y] = [points(a), points(b)];
      const at = x.findIndex((code, index) => code !== y[index]);
      const expected = Math.sign(
        at < 0 ? x.length - y.length : at >= y.length ? 1 : (x[at] as number) - (y[at] as number),
      );
      expect(left < right ? -1 : left > right ? 1 : 0).toBe(expected);
      expect(Buffer.compare(Buffer.from(left), Buffer.from(right))).toBe(expected);
    }),
    { numRuns: 5_000 },
  );
});

test('a text that encodeText does not produce is decoded as undefined: each text has one encoding', () => {
  fc.assert(
    fc.property(text, (encoded) => {
      const decoded = decodeText(encoded);
      if (decoded !== undefined) expect(encodeText(decoded)).toBe(encoded);
    }),
    { numRuns: 5_000 },
  );
  for (const wrong of [
    '"',
    '"0',
    '"zz',
    '"41',
    '\uD7FF',
    '\uD7FF12',
    '\uD7FF0041',
    '!',
    '\0',
    '\uE000',
    '\ud800',
    '\u{1F600}',
  ])
    expect(decodeText(wrong)).toBeUndefined();
});

test('utf8Length is the number of bytes in UTF-8', () => {
  fc.assert(
    fc.property(text, (original) => {
      expect(utf8Length(original)).toBe(Buffer.byteLength(original));
    }),
    { numRuns: 5_000 },
  );
});

test('utf8Length of a long text too, wherever a character is when the scratch buffer is full', () => {
  fc.assert(
    fc.property(text, text, fc.integer({ min: 1, max: 4_000 }), (start, repeated, times) => {
      const original = start + repeated.repeat(times);
      expect(utf8Length(original)).toBe(Buffer.byteLength(original));
    }),
    { numRuns: 300 },
  );
});
