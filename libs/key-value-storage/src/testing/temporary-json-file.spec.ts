import { existsSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { defineState, openStorage } from '../core.js';
import { temporaryJsonFile } from './temporary-json-file.js';

test('a temporary JSON file keeps what is stored until it is disposed, and leaves nothing behind', async () => {
  const provider = await temporaryJsonFile();
  const state = defineState<{ n: number }>('thing');
  for (let round = 0; round < 2; round += 1) {
    await using storage = await openStorage(provider);
    expect(
      (await storage.store(state).update('k', ({ n }) => ({ n: n + 1 }), { initial: () => ({ n: 0 }) }))
        .value,
    ).toEqual({
      n: round + 1,
    });
  }
  expect(existsSync(provider.directory)).toBe(true);
  await provider[Symbol.asyncDispose]();
  expect(existsSync(provider.directory)).toBe(false);
});

test('two temporary JSON files share nothing', async () => {
  await using one = await temporaryJsonFile();
  await using two = await temporaryJsonFile();
  expect(one.directory).not.toBe(two.directory);
});
