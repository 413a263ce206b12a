import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { defineCounter, defineState } from '@kvent/key-value-storage';
import { Folder, kvent, kventJson } from '../spec-support.js';

const Products = defineState<unknown>('product');
const Newer = defineState<unknown>('product', { schemaVersion: 2, upcast: { 1: (older: unknown) => older } });
let folder: Folder;
let data: string;

beforeEach(async () => {
  folder = new Folder();
  data = folder.path('data');
  await folder.store(async (storage) => {
    const products = storage.store(Products);
    await products.set('mug', { title: 'Mug' });
    await products.set('mug/blue', { title: 'Blue', at: new Date(0), count: 7n });
    await products.set(['user', 42, true], [1], { ttlMs: 3_600_000 });
    await products.set('["user",42]', 'a text');
  });
});
afterEach(() => folder[Symbol.dispose]());

describe('kvent ls', () => {
  it('lists states and stream types of all databases, or of one', async () => {
    await folder.store((storage) => storage.store(Products).set('tea', 1), 'globex');
    const of = (database: string) => ({ database, kind: 'state', name: 'product' });
    expect(await kventJson('ls', data)).toMatchObject({ items: [of('tenant:acme'), of('tenant:globex')] });
    expect((await kvent(['ls', data, '--tenant', 'acme'])).stdout).toBe(
      'database     kind   name\ntenant:acme  state  product\n',
    );
  });

  it('lists counters, and `get` prints one', async () => {
    await folder.store((storage) => storage.store(defineCounter('product')).increment('mug', 3));
    const { items } = await kventJson('ls', data);
    expect(items).toContainEqual({ database: 'tenant:acme', kind: 'counter', name: 'product' });
    expect(await kventJson('ls', data, 'product', '--counter', '--values')).toMatchObject({
      items: [{ key: 'mug', value: 3 }],
    });
    expect(await kventJson('get', data, 'product', 'mug', '--counter')).toMatchObject({ value: 3 });
    expect((await kvent(['get', data, 'product', 'tea', '--counter'])).exitCode).toBe(1);
  });

  it('lists the keys of a state page by page, as `get` takes them', async () => {
    const keys: unknown[] = [];
    let next: unknown;
    do {
      const cursor = typeof next === 'string' ? ['--cursor', next] : [];
      const page = await kventJson('ls', data, 'product', '--limit', '3', ...cursor);
      keys.push(...(page['items'] as { readonly key: unknown }[]).map(({ key }) => key));
      next = page['next'];
    } while (next !== null);
    expect(keys).toEqual([['user', 42, true], '["user",42]', 'mug', 'mug/blue']);

    const { stdout } = await kvent(['ls', data, 'product', '--limit', '3']);
    const [, parts = '', text = '', , more] = stdout.split('\n');
    expect(parts).toMatch(/^\["user",42,true\] +\d+ +\S+Z +\S+Z$/);
    expect(text).toMatch(/^"\[\\"user\\",42\]" +\d+ +\S+Z +never$/);
    expect(more).toMatch(/^More keys follow: --cursor \S+$/);
    for (const line of [parts, text])
      expect((await kvent(['get', data, 'product', line.split('  ')[0] ?? ''])).exitCode).toBe(0);
  });

  it('takes a prefix, a text or parts, and prints values where they are asked for', async () => {
    const { items } = await kventJson('ls', data, 'product', '--prefix', 'mug/', '--values');
    expect(items).toMatchObject([
      {
        key: 'mug/blue',
        schemaVersion: 1,
        value: { title: 'Blue', at: { $date: '1970-01-01T00:00:00.000Z' }, count: { $bigint: '7' } },
      },
    ]);
    expect(await kventJson('ls', data, 'product', '--prefix', '["user"]')).toMatchObject({
      items: [{ key: ['user', 42, true] }],
    });
    expect((await kvent(['ls', data, 'product', '--prefix', 'none'])).stdout).toBe(
      "There is no such key in state 'product' of 'tenant:acme'.\n",
    );
  });
});

describe('kvent get', () => {
  it('prints the value, its etag, its times and its schema version', async () => {
    let etag = '';
    await folder.store(async (storage) => {
      ({ etag } = await storage.store(Newer).set('tea', { leaves: 2 }, { ttlMs: 60_000 }));
    });
    const printed = await kventJson('get', data, 'product', 'tea');
    expect(printed).toMatchObject({ key: 'tea', etag, schemaVersion: 2, value: { leaves: 2 } });
    expect(Date.parse(printed['expiresAt'] as string)).toBe(
      Date.parse(printed['updatedAt'] as string) + 60_000,
    );
    const { stdout } = await kvent(['get', data, 'product', 'tea']);
    expect(stdout).toMatch(
      /^key +tea\netag +\d+\nupdated +\S+\nexpires +\S+\nschema version +2\n\{\n {2}"leaves": 2\n\}\n$/,
    );
  });

  it('fails with KEY_NOT_FOUND for an absent value', async () => {
    const { exitCode, stdout, stderr } = await kvent(['get', data, 'product', 'none', '--json']);
    expect({ exitCode, stderr }).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(
        /^kvent get: There is no product none in 'tenant:acme'\. \[KEY_NOT_FOUND, /,
      ),
    });
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'KEY_NOT_FOUND', effect: 'none' } });
  });
});

describe('kvent put and rm', () => {
  it('change nothing without --write', async () => {
    const before = await kventJson('ls', data, 'product', '--values');
    for (const args of [
      ['put', data, 'product', 'mug', '1'],
      ['rm', data, 'product', 'mug'],
    ]) {
      const { exitCode, stderr } = await kvent(args);
      expect({ exitCode, stderr }).toEqual({
        exitCode: 2,
        stderr: `kvent: kvent ${String(args[0])} changes the storage: repeat the same command with --write.\n`,
      });
    }
    expect(await kventJson('ls', data, 'product', '--values')).toEqual(before);
  });

  it('write what the application reads: tags, schema version, and the expiry that there was', async () => {
    await folder.store((storage) => storage.store(Newer).set('tea', { leaves: 2 }, { ttlMs: 3_600_000 }));
    const put = [
      'put',
      data,
      'product',
      'tea',
      '{"leaves":3,"at":{"$date":"1970-01-01T00:00:00.000Z"}}',
      '--write',
    ];
    const { etag } = await kventJson(...put);
    await folder.store(async (storage) => {
      const tea = await storage.store(Newer).getOrThrow('tea');
      expect(tea).toMatchObject({ etag, value: { leaves: 3, at: new Date(0) } });
      expect(tea.expiresAt).toBeInstanceOf(Date);
    });
    await kventJson(...put, '--ttl', 'never');
    expect(await kventJson('get', data, 'product', 'tea')).toMatchObject({
      expiresAt: null,
      schemaVersion: 2,
    });
  });

  it('check the etag, and that there is none', async () => {
    const put = ['put', data, 'product', 'mug', '2', '--write'];
    const { etag } = await kventJson('get', data, 'product', 'mug');
    expect((await kvent([...put, '--if-absent'])).stderr).toContain('[KEY_EXISTS, ');
    expect((await kvent([...put, '--if-match', '7'])).stderr).toContain(
      'expected the etag 7. Nothing was changed.',
    );
    expect((await kvent(['rm', ...put.slice(1, 4), '--write', '--if-match', '7'])).exitCode).toBe(1);
    await kventJson(...put, '--if-match', String(etag));
    expect(await kventJson('get', data, 'product', 'mug')).toMatchObject({ value: 2 });
    expect(await kventJson('rm', data, 'product', 'mug', '--write')).toMatchObject({ key: 'mug' });
    expect((await kvent(['rm', data, 'product', 'mug', '--write'])).stderr).toContain('[KEY_NOT_FOUND, ');
    expect(await kventJson(...put, '--if-absent')).toMatchObject({ created: true });
  });
});

it.each([
  [['ls', 'data', 'product', '--limit', '0'], 'It must be a whole number from 1 to 1,000.'],
  [['ls', 'data', '--prefix', 'a'], '--prefix, --cursor and --values need the name of a state.'],
  [['ls', 'data', 'product', '--cursor', 'x'], '[INVALID_CURSOR, '],
  [['get', 'data', 'product', ''], '[INVALID_KEY, '],
  [['get', 'data', 'product', '[{"$date":"x"}]'], 'has a part that cannot be read'],
  [
    ['get', 'data', 'product', 'mug', '--tenant', 'acne'],
    "has no database 'tenant:acne'; it has 'tenant:acme'.",
  ],
  [['get', 'data', 'product', 'mug', '--tenant', ' '], '[TENANT_MISSING, '],
  [['put', 'data', 'product', 'mug', 'Mug', '--write'], 'a text needs its quotes'],
  [
    ['put', 'data', 'product', 'mug', '1', '--write', '--ttl', '0'],
    "It must be 'never', or a number of seconds",
  ],
  [
    ['put', 'data', 'product', 'mug', '1', '--write', '--if-absent', '--if-match', '7'],
    "'--if-match <etag>' cannot be used with option '--if-absent'",
  ],
  [['get', 'data', 'product'], "missing required argument 'key'"],
])('a wrong argument ends with 2, and says what is allowed: %j', async (args, words) => {
  const { exitCode, stdout, stderr } = await kvent([
    ...args.map((arg) => (arg === 'data' ? data : arg)),
    '--json',
  ]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: expect.stringContaining(words) });
  expect(JSON.parse(stdout)).toMatchObject({
    error: { code: expect.stringMatching(/^[A-Z_]+$/), effect: 'none' },
  });
});

it('a storage with several databases needs a choice', async () => {
  await folder.store((storage) => storage.store(Products).set('tea', 1), 'globex');
  expect((await kvent(['get', data, 'product', 'mug'])).stderr).toContain(
    "has 'tenant:acme', 'tenant:globex': choose one with --tenant <id> or --shared.",
  );
  expect(await kventJson('get', data, 'product', 'tea', '--tenant', 'globex')).toMatchObject({ value: 1 });
});
