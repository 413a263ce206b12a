import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { defineState } from '@kvent/key-value-storage';
import type { RawRow } from '@kvent/key-value-storage/provider';
import { Folder, kvent, kventJson } from '../spec-support.js';

let folder: Folder;

beforeEach(async () => {
  folder = new Folder();
  await folder.store(async (storage) => {
    await storage.store(defineState('product')).set('mug', { title: 'Müg' });
    await storage.store(defineState('setting', { scope: 'shared', container: 'admin' })).set('a', 1);
  });
});
afterEach(() => folder[Symbol.dispose]());

it('kvent tenants lists tenants, and whether there are shared data', async () => {
  await folder.store((storage) => storage.store(defineState('product')).set('a', 1), 'globex & sons');
  expect(await kventJson('tenants', folder.path('data'))).toMatchObject({
    tenants: ['acme', 'globex & sons'],
    shared: true,
  });
  expect((await kvent(['tenants', folder.path('data')])).stdout).toMatch(
    /^acme\nglobex & sons\nJSON file \S+ has 2 tenants and shared data\.\n$/,
  );
});

it('kvent stats counts rows and bytes of values, for each state and stream type', async () => {
  const row = (container: string, entity: string, key: string, value: RawRow['row']['value']): RawRow => ({
    container,
    entity,
    key,
    row: { version: '7', updatedAt: 1, value },
  });
  await folder.import('tenant:acme', [
    row('event:order', 'o-1', '!n1b1', { kind: 'json', text: '{"type":"placed"}' }),
    row('event:order', 'o-2', '!n1b1', { kind: 'json', text: '{"type":"placed"}' }),
    row('head:order', '', 'o-1', { kind: 'number', number: 1n }),
    row('state:state', 'image', 'logo', { kind: 'bytes', bytes: Uint8Array.of(1, 2, 3) }),
  ]);
  const counted = await kventJson('stats', folder.path('data'));
  expect(counted['items']).toEqual([
    { database: 'shared', kind: 'state', name: 'setting (container admin)', rows: 1, bytes: 1 },
    { database: 'tenant:acme', kind: 'event', name: 'order', rows: 2, bytes: 34 },
    { database: 'tenant:acme', kind: 'head', name: 'order', rows: 1, bytes: 8 },
    { database: 'tenant:acme', kind: 'state', name: 'image', rows: 1, bytes: 3 },
    { database: 'tenant:acme', kind: 'state', name: 'product', rows: 1, bytes: 16 },
  ]);
  expect(counted).toMatchObject({ rows: 6, bytes: 62 });
  expect((await kvent(['stats', folder.path('data'), '--shared'])).stdout).toMatch(
    /^database +kind +name +rows +bytes\nshared +state +setting \(container admin\) +1 +1\nJSON file \S+ holds 1 row with 1 byte of values\.\n$/,
  );
});
