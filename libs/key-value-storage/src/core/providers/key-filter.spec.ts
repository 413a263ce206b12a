import { expect, test } from '@jest/globals';
import { KeyFilter } from './key-filter.js';

const some = ['', 'a', 'ä', '🛒', 'mug', 'user-1', '!tuser!nb42', 'x'.repeat(500)];
const watched = Array.from({ length: 1_000 }, (_, number) => `watched-${number}`);
const written = Array.from({ length: 1_000 }, (_, number) => `product-${number}`);

test('a key that was added may be in the set, also after another one with the same characters has left', () => {
  const filter = new KeyFilter();
  for (const key of [...some, ...watched]) filter.add(key);
  // the characters that are looked at are the same
  filter.add('mXXug');
  filter.add('mYXug');
  filter.remove('mYXug');
  expect([...some, ...watched, 'mXXug'].filter((key) => !filter.mayHave(key))).toEqual([]);
});

test('most other keys are not in the set, and none is when all keys have left', () => {
  const filter = new KeyFilter();
  for (const key of watched) filter.add(key);
  expect(written.filter((key) => filter.mayHave(key)).length).toBeLessThan(200);
  for (const key of watched) filter.remove(key);
  expect([...watched, ...written, ...some].filter((key) => filter.mayHave(key))).toEqual([]);
});
