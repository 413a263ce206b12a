/** Of which tenant, keys and rows a read of a state of a projection is. */
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { defineState, MemoryProvider, type KeyValueStorage } from '@kvent/key-value-storage';
import { collect } from '@kvent/key-value-storage/testing';
import { openKeyValueStorage } from '@kvent/key-value-storage/internal';
import type { ProjectedStore } from './live-store.js';
import { defineProjection } from './projection-definition.js';
import { ProjectionRunner } from './projection-runner.js';
import { Orders } from './spec-support.js';

interface Note {
  readonly text: string;
}
const Notes = defineState<Note>('note');
const Copies = defineProjection('copies', {
  streams: [Orders],
  into: Notes,
  key: () => 'all',
  initial: () => ({ text: '' }),
  evolve: (note) => note,
});

describe('a state of a projection', () => {
  const provider = new MemoryProvider();
  const scan = jest.spyOn(provider, 'scan');
  let tenant: string | undefined;
  let storage: KeyValueStorage;
  let copies: ProjectedStore<Note>;
  beforeEach(async () => {
    storage = await openKeyValueStorage({ provider, tenant: () => tenant });
    copies = new ProjectionRunner(storage, Copies).store(Notes);
    for (const name of ['acme', 'globex'])
      for (const key of ['a', 'b'])
        await storage
          .store(Notes)
          .forTenant(name)
          .set([key, 1], { text: `${key} of ${name}` });
  });
  afterEach(async () => await storage.close());

  it('is read for the tenant of the call, although the tenant changes while it is read', async () => {
    tenant = 'acme';
    const [list, watch, watchMany] = [copies.list(), copies.watch(['a', 1]), copies.watchMany([['a', 1]])];
    const reading = Promise.all([
      copies.get(['a', 1]),
      copies.getOrThrow(['a', 1]),
      copies.getMany([['a', 1]]),
      copies.page({ limit: 1 }),
    ]);
    tenant = 'globex';
    const ofAcme = { value: { text: 'a of acme' } };
    expect(await reading).toMatchObject([ofAcme, ofAcme, [ofAcme], { items: [ofAcme] }]);
    expect(await collect(list)).toMatchObject([ofAcme, { value: { text: 'b of acme' } }]);
    tenant = undefined;
    expect(await collect(list)).toHaveLength(2);
    for await (const entry of watch) {
      expect(entry).toMatchObject(ofAcme);
      break;
    }
    for await (const entries of watchMany) {
      expect(entries).toMatchObject([ofAcme]);
      break;
    }
    const missing = expect.objectContaining({ code: 'TENANT_MISSING' });
    expect(() => copies.list()).toThrow(missing);
    expect(() => copies.watch('a')).toThrow(missing);
    await expect(copies.get('a')).rejects.toEqual(missing);
  });

  it('is read with the range and the keys of the call', async () => {
    const own = copies.forTenant('acme');
    const prefix = ['a'];
    const list = own.list({ prefix });
    prefix[0] = 'b';
    expect(await collect(list)).toMatchObject([{ value: { text: 'a of acme' } }]);
    const key: [string, number] = ['a', 1];
    const [watch, watchMany] = [own.watch(key), own.watchMany([key])];
    key[0] = 'b';
    for await (const entry of watch) {
      expect(entry?.value.text).toBe('a of acme');
      break;
    }
    for await (const [entry] of watchMany) {
      expect(entry?.value.text).toBe('a of acme');
      break;
    }
  });

  it('refuses a range, a key and a cursor that are not allowed at the call', () => {
    const own = copies.forTenant('acme');
    const refused = (code: string) => expect.objectContaining({ code });
    expect(() => own.list({ prefx: 'a' } as object)).toThrow("Did you mean 'prefix'?");
    expect(() => own.list({ start: [] })).toThrow(refused('INVALID_KEY'));
    expect(() => own.list({}, { sgnal: undefined } as object)).toThrow("Did you mean 'signal'?");
    expect(() => own.list({ cursor: 'x' })).toThrow(refused('INVALID_CURSOR'));
    expect(() => own.watch('')).toThrow(refused('INVALID_KEY'));
    expect(() => own.watchMany(['a', ''])).toThrow(refused('INVALID_KEY'));
  });

  it('yields the first entries of a list before further pages are read', async () => {
    const own = copies.forTenant('large');
    const notes = storage.store(Notes).forTenant('large');
    const text = 'x'.repeat(850_000);
    for (let index = 0; index < 20; index += 1) await notes.set(`note ${index}`, { text });
    scan.mockClear();
    const list = own.list()[Symbol.asyncIterator]();
    expect((await list.next()).done).toBe(false);
    expect(scan).toHaveBeenCalledTimes(1);
    let count = 1;
    while ((await list.next()).done !== true) count += 1;
    expect(count).toBe(20);
    expect(scan.mock.calls.length).toBeGreaterThan(1);
  });

  it('keeps no store for a build that only a cursor names', async () => {
    const own = copies.forTenant('acme');
    const opened = jest.spyOn(storage, 'store');
    const cursor = '77_x';
    await expect(own.page({ limit: 1, cursor })).rejects.toMatchObject({ code: 'INVALID_CURSOR' });
    await expect(collect(own.list({ cursor }))).rejects.toMatchObject({ code: 'INVALID_CURSOR' });
    expect(opened).not.toHaveBeenCalled();
  });
});
