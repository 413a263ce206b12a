/**
 * What a method returns to be read later is of the tenant and the range of its call, also where
 * another tenant reads it, and in a transaction. Transactions are those of the async context.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { defineProjection, defineStream, event, EventStore, ProjectionRunner } from '@kvent/event-store';
import { defineCounter, defineState, MemoryProvider, type KeyValueStorage } from '@kvent/key-value-storage';
import { openKeyValueStorage } from '@kvent/key-value-storage/internal';
import { collect } from '@kvent/key-value-storage/testing';

const Notes = defineState('note', { indexes: { byText: ({ text }: { readonly text: string }) => text } });
const Views = defineCounter('views');
const Diary = defineStream('diary', {
  events: { written: event<{ text: string }>() },
  initial: () => 0,
  evolve: (count: number) => count + 1,
});
const Copies = defineProjection('copies', {
  streams: [Diary],
  into: Notes,
  key: ({ stream }) => stream,
  initial: () => ({ text: '' }),
  evolve: (_, { data }) => data,
});

const tenants = new AsyncLocalStorage<string>();
const transactions = new AsyncLocalStorage<object>();
const inTransaction = <R>(work: () => R): R => transactions.run({}, work);

/** Within a transaction, it has the rows of another provider: they show where a list was read. */
class AmbientProvider extends MemoryProvider {
  readonly inside = new MemoryProvider();
  readonly transactions = { current: () => transactions.getStore(), open: () => [] };
  readonly within = () => this.inside;
}

function storesOf(storage: KeyValueStorage) {
  const events = new EventStore(storage);
  const copies = new ProjectionRunner(storage, Copies).store(Notes);
  return { notes: storage.store(Notes), views: storage.store(Views), diary: events.stream(Diary), copies };
}
type Stores = ReturnType<typeof storesOf>;

/** Two entries, counters and events for each tenant, which show whose they are. */
async function fill({ notes, views, diary }: Stores, suffix = ''): Promise<void> {
  for (const tenant of ['acme', 'globex'])
    await tenants.run(tenant, async () => {
      for (const text of [`1 ${tenant}${suffix}`, `2 ${tenant}${suffix}`]) {
        await notes.set(text, { text });
        await views.increment(text);
        await diary.append('d-1', [{ type: 'written', data: { text } }], { expectedVersion: 'any' });
      }
    });
}

interface Range {
  prefix?: string;
  to?: number;
}
type Make = (stores: Stores, range: Range) => AsyncIterable<unknown>;

/** Each with a range that has the first of two items. */
const lists: readonly [string, Make, Range][] = [
  ['a list', ({ notes }, range) => notes.list(range), { prefix: '1' }],
  ['a list without values', ({ notes }, range) => notes.list(range, { values: false }), { prefix: '1' }],
  ['a list of keys', ({ notes }, range) => notes.keys(range), { prefix: '1' }],
  ['a list of an index', ({ notes }, range) => notes.index('byText').list(range), { prefix: '1' }],
  ['a list of counters', ({ views }, range) => views.list(range), { prefix: '1' }],
  ['a list of a projection', ({ copies }, range) => copies.list(range), { prefix: '1' }],
  ['a list of events', ({ diary }, range) => diary.read('d-1', range), { to: 1 }],
];

/** The texts of the items, as globex reads them. */
const readByGlobex = async (list: AsyncIterable<unknown>): Promise<readonly unknown[]> =>
  await tenants.run('globex', async () =>
    (await collect(list)).map((item) => {
      const { key, data } = item as { readonly key?: string; readonly data?: { readonly text: string } };
      return key ?? data?.text ?? item;
    }),
  );

describe('Of a tenant, and read later by another', () => {
  let storage: KeyValueStorage;
  let inside: KeyValueStorage;
  let stores: Stores;
  beforeEach(async () => {
    const tenant = () => tenants.getStore();
    const provider = new AmbientProvider();
    storage = await openKeyValueStorage({ provider, tenant });
    inside = await openKeyValueStorage({ provider: provider.inside, tenant });
    stores = storesOf(storage);
    await fill(stores);
    await fill(storesOf(inside), ' inside');
  });
  afterEach(async () => {
    await storage.close();
    await inside.close();
  });

  describe.each(lists)('%s', (_, make, first) => {
    const ofAcme = (range: Range): AsyncIterable<unknown> => tenants.run('acme', () => make(stores, range));

    it('is of the tenant of its call, in the transaction in which it is read', async () => {
      const list = ofAcme({});
      const fromInside = inTransaction(() => ofAcme({}));
      for (const kept of [list, fromInside]) {
        expect(await readByGlobex(kept)).toEqual(['1 acme', '2 acme']);
        const read = await inTransaction(async () => await readByGlobex(kept));
        expect(read).toEqual(['1 acme inside', '2 acme inside']);
      }
    });

    it('has the range of its call', async () => {
      const range = { ...first };
      const list = ofAcme(range);
      delete range.prefix;
      delete range.to;
      expect(await readByGlobex(list)).toEqual(['1 acme']);
      expect(await inTransaction(async () => await readByGlobex(list))).toEqual(['1 acme inside']);
    });
  });

  it('an export is of the tenant of its call, and begins in no transaction', async () => {
    const ofAcme = () => tenants.run('acme', () => stores.notes.export({ prefix: '1' }));
    const list = ofAcme();
    expect(await readByGlobex(list)).toEqual(['1 acme']);
    const unsupported = { code: 'STORAGE_UNSUPPORTED' };
    await expect(inTransaction(async () => await readByGlobex(list))).rejects.toMatchObject(unsupported);
    expect(() => inTransaction(ofAcme)).toThrow(expect.objectContaining(unsupported));
  });
});
