/** How many exports the embedded providers have open. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { openStorage } from '../core/store/open-storage.js';
import { defineState } from '../core/store/state-definition.js';
import { JsonFileProvider } from './json-file/json-file-provider.js';
import { MemoryProvider } from './memory/memory-provider.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kvent-exports-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const providers = {
  memory: () => new MemoryProvider(),
  'JSON file': () => new JsonFileProvider({ directory }),
};

it.each(Object.keys(providers) as (keyof typeof providers)[])(
  '%s: 16 exports of a tenant are open at most, and those of another tenant are not counted',
  async (name) => {
    await using storage = await openStorage(providers[name]());
    const things = storage.store(defineState<number>('thing'));
    const [acme, globex] = [things.forTenant('acme'), things.forTenant('globex')];
    for (const store of [acme, globex]) for (const key of ['a', 'b']) await store.set(key, 1);
    const begin = async (store = acme) => {
      const reading = store.export()[Symbol.asyncIterator]();
      expect((await reading.next()).value).toMatchObject({ key: 'a', value: 1 });
      return reading;
    };
    const open = [];
    for (let count = 0; count < 16; count += 1) open.push(await begin());
    await expect(begin()).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      effect: 'none',
      retryable: true,
      message: '16 exports of "tenant:acme" are open, and at most 16 may be: read one to its end, or end it.',
    });
    await begin(globex);
    // early, and at the end
    await open[0]?.return?.();
    while ((await open[1]?.next())?.done !== true);
    await begin();
    await begin();
    await expect(begin()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  },
);
