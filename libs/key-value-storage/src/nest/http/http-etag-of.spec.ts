import { expect, it } from '@jest/globals';
import { defineState, MemoryProvider, openStorage } from '../../index.js';
import { httpEtagOf } from './http-etag-of.js';

const Offers = defineState<{ cents: number }>('offer');
const Others = defineState<{ cents: number }>('other');

it('differs for rows of one commit, whose versions are equal', async () => {
  await using storage = await openStorage(new MemoryProvider());
  const offers = storage.store(Offers).forTenant('acme');
  const others = storage.store(Others).forTenant('acme');
  await storage
    .atomic()
    .set(offers, 'mug', { cents: 1 })
    .set(offers, 'pen', { cents: 1 })
    .set(others, 'mug', { cents: 1 })
    .commit();
  const entries = [
    await offers.getOrThrow('mug'),
    await offers.getOrThrow('pen'),
    await others.getOrThrow('mug'),
  ];
  expect(new Set(entries.map(({ etag }) => etag)).size).toBe(1);
  expect(new Set(entries.map(httpEtagOf)).size).toBe(entries.length);
});

it('is an ETag that ifMatch takes', async () => {
  await using storage = await openStorage(new MemoryProvider());
  const offers = storage.store(Offers).forTenant('acme');
  const first = await offers.add('mug', { cents: 1 });
  await offers.set('mug', { cents: 2 }, { ifMatch: httpEtagOf(first) });
  await expect(offers.set('mug', { cents: 3 }, { ifMatch: httpEtagOf(first) })).rejects.toMatchObject({
    code: 'STORAGE_CONFLICT',
  });
});

it('refuses an object that is neither an entry nor a loaded stream', () => {
  expect(() => httpEtagOf({ etag: '1' })).toThrow(
    expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringContaining('got') }),
  );
});
