import { expect, it } from '@jest/globals';
import { printable } from './printable.js';

it.each([
  ['a line feed', 'a\nb', 'a\\nb'],
  ['a carriage return and a tab', '\r\t', '\\r\\t'],
  ['an escape sequence', '\u001b[31mred', '\\u001b[31mred'],
  ['a bell and NUL', '\u0007\u0000', '\\u0007\\u0000'],
  ['DEL and C1', '\u007f\u0085\u009b31m', '\\u007f\\u0085\\u009b31m'],
  ['bidirectional controls', '\u202egpj.exe\u2066\u200f', '\\u202egpj.exe\\u2066\\u200f'],
  ['separators of lines and paragraphs', '\u2028\u2029', '\\u2028\\u2029'],
  ['half a character', 'a\ud800b\udc00', 'a\\ud800b\\udc00'],
])('%s is written as an escape', (_, text, escaped) => {
  expect(printable(text)).toBe(escaped);
});

it('ordinary text of any script stays as it is', () => {
  for (const text of ['', 'plain', 'é ß 漢字 😀 עברית', `"quoted" \\ 'n`]) expect(printable(text)).toBe(text);
});

it('inside a JSON string the value stays the same', () => {
  const value = 'a\u202e\u0085\u2028\ud800\n';
  expect(JSON.parse(printable(JSON.stringify(value)))).toBe(value);
});
