import { expect, it } from '@jest/globals';
import { encodeKey, type Key } from '@kvent/key-value-storage/provider';
import { encodedKeyFrom, keyText } from './key.js';

it.each<Key>([
  'mug',
  'a b',
  '["a"]',
  '"a"',
  '"',
  '[',
  ' ["a"]',
  'tea \u0000',
  ['user', 42],
  ['a', -0.5, true, 7n, Uint8Array.of(0, 255)],
])('a key as it is printed is read as the same key: %j', (key) => {
  const encoded = encodeKey(key);
  expect(encodedKeyFrom(keyText(encoded))).toBe(encoded);
});
