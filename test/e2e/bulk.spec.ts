/** Many products at once: imports, additions, deletions, and the migration of older ones. */
import { describe, expect, it } from '@jest/globals';
import { defineState, StateMigration } from '@kvent/key-value-storage';
import { Product, type ProductV1 } from '../../apps/storefront/src/catalogue/product.js';
import { until } from '../postgres/until.js';
import { etagOf, type Answer, type Client } from './client.js';
import { onEachStorage } from './shop.js';

const lines = { 'Content-Type': 'application/x-ndjson' };
const importInto = (client: Client, ...products: readonly unknown[]): Promise<Answer> =>
  client.post('/products/import', products.map((product) => JSON.stringify(product)).join('\n'), lines);
const mug = { sku: 'mug', title: 'Mug', priceCents: 850, tags: [] };
const skusOf = async (client: Client): Promise<readonly string[]> =>
  ((await client.get('/products?limit=1000')).body as { items: { sku: string }[] }).items.map(
    ({ sku }) => sku,
  );

onEachStorage('Many products', (shop) => {
  describe('are imported', () => {
    it('as they are exported, whatever the size of the upload', async () => {
      const [from, to] = [await shop.createTenant(), await shop.createTenant()];
      // more than a body of JSON may have; each chunk of the connection ends within a line
      const many = Array.from({ length: 3_000 }, (_, n) => ({
        ...mug,
        sku: `p${n}`,
        title: `Täßchen ☕ ${n}`.padEnd(60, '🍵'),
      }));
      expect((await importInto(from, ...many)).body).toEqual({ loaded: 3_000, failed: 0, failures: [] });
      const { text } = await from.get('/products/export');
      expect(text.length).toBeGreaterThan(300_000);
      expect((await to.post('/products/import', text, lines)).body).toMatchObject({ loaded: 3_000 });
      expect((await to.get('/products/export')).text).toBe(text);
    });

    it('over those that exist, and a repeat changes none of them', async () => {
      const client = await shop.createTenant();
      const before = etagOf(await client.post('/products', mug));
      for (const priceCents of [900, 900])
        expect((await importInto(client, { ...mug, priceCents })).status).toBe(200);
      expect((await client.get('/products/mug')).body).toEqual({ ...mug, priceCents: 900 });
      expect(await client.put('/products/mug', mug, { 'If-Match': before })).toMatchObject({ status: 412 });
    });

    it('without the lines that are no products, which are named', async () => {
      const client = await shop.createTenant();
      const upload = [JSON.stringify(mug), '{"sku":', '', 'null', '{"title":"Cup"}', '{"sku":"a/b"}', '[]'];
      upload.push(
        JSON.stringify({ ...mug, sku: 'pen', priceCents: -1 }),
        JSON.stringify({ ...mug, sku: 'x' }),
      );
      const { status, body } = await client.post('/products/import', `${upload.join('\r\n')}\r\n`, lines);
      expect([status, body]).toMatchObject([200, { loaded: 2, failed: 7 }]);
      const { failures } = body as { failures: { line: number; code: string; detail: string }[] };
      expect(failures.map(({ line, code }) => [line, code])).toEqual(
        [2, 3, 4, 5, 6, 7, 8].map((line) => [line, 'INVALID_VALUE']),
      );
      expect(failures.at(-1)?.detail).toContain('priceCents');
      expect(await skusOf(client)).toEqual(['mug', 'x']);
    });

    it('not with a line of more than 100 KiB, though the client sends on', async () => {
      const client = await shop.createTenant();
      const text = `${'x'.repeat(200_000)}\n`.repeat(20);
      expect(await client.post('/products/import', text, lines)).toMatchObject({ status: 413 });
      expect((await importInto(client, mug)).body).toMatchObject({ loaded: 1 });
    });

    it('from one upload of a tenant at a time, and from another one after the client has left', async () => {
      const [client, other] = [await shop.createTenant(), await shop.createTenant()];
      const upload = await openUpload(client);
      expect((await importInto(other, mug)).status).toBe(200);
      expect(await client.get('/products')).toMatchObject({ status: 200 });
      upload.leave();
      await until('the next import', async () => (await importInto(client, mug)).status === 200);
    });

    it('until the shop closes, which does not wait for the rest', async () => {
      const client = await shop.createTenant();
      const { answer } = await openUpload(client);
      const restarted = shop.restart();
      const { status, headers, body } = await answer;
      expect([status, headers.get('retry-after'), body]).toMatchObject([
        503,
        '1',
        { code: 'SHOP_CLOSING', retryable: true, done: 0 },
      ]);
      await restarted;
    });

    /** An upload of which the client has sent a product, and sends no more. */
    async function openUpload(client: Client) {
      const left = new AbortController();
      const body = new ReadableStream<Uint8Array>({
        start: (sink) => sink.enqueue(new TextEncoder().encode(`${JSON.stringify(mug)}\n`)),
      });
      const answer = client.upload('/products/import', body, { headers: lines, signal: left.signal });
      // those of clients that leave are not awaited
      answer.catch(() => undefined);
      await until('the import is in progress', async () => {
        const { status, headers, body } = await importInto(client);
        if (status === 503)
          expect([headers.get('retry-after'), body]).toMatchObject(['1', { code: 'IMPORT_IN_PROGRESS' }]);
        return status === 503;
      });
      return { answer, leave: () => left.abort() };
    }
  });

  describe('are added', () => {
    const sizes = ['s', 'm', 'l'].map((size) => ({ ...mug, sku: `shirt-${size}` }));
    const add = (client: Client, items: readonly unknown[]): Promise<Answer> =>
      client.post('/products/additions', { items });

    it('all or none', async () => {
      const client = await shop.createTenant();
      expect(await add(client, sizes)).toMatchObject({ status: 201, body: { items: sizes } });
      expect(await add(client, [{ ...mug, sku: 'shirt-xl' }, ...sizes])).toMatchObject({
        status: 409,
        body: { code: 'KEY_EXISTS', key: 'shirt-s' },
      });
      expect(await skusOf(client)).toEqual(['shirt-l', 'shirt-m', 'shirt-s']);
    });

    it('by one of many concurrent requests', async () => {
      const client = await shop.createTenant();
      const answers = await Promise.all(Array.from({ length: 8 }, () => add(client, sizes)));
      expect(answers.map(({ status }) => status).sort()).toEqual([
        201,
        ...Array.from({ length: 7 }, () => 409),
      ]);
    });

    it.each([
      ['none', []],
      ['one twice', [mug, mug]],
      ['more than 100', Array.from({ length: 101 }, (_, n) => ({ ...mug, sku: `p${n}` }))],
      ['one without a title', [mug, { sku: 'pen', priceCents: 1 }]],
    ])('not if they are %s', async (_, items) => {
      const client = await shop.createTenant();
      expect(await add(client, items)).toMatchObject({ status: 422, body: { code: 'INVALID_VALUE' } });
      expect(await skusOf(client)).toEqual([]);
    });
  });

  describe('are deleted', () => {
    const remove = async (client: Client, skus: unknown): Promise<unknown> =>
      (await client.post('/products/deletions', { skus })).body;

    it('in any version, with their views, and a repeat deletes none', async () => {
      const [client, other] = [await shop.createTenant(), await shop.createTenant()];
      const many = Array.from({ length: 500 }, (_, n) => ({ ...mug, sku: `p${n}` }));
      await importInto(client, mug, ...many);
      await importInto(other, mug, ...many);
      await client.get('/products/p0');
      const skus = [...many.map(({ sku }) => sku), 'none'];
      expect(await remove(client, skus)).toEqual({ deleted: 500 });
      expect(await remove(client, skus)).toEqual({ deleted: 0 });
      expect(await skusOf(client)).toEqual(['mug']);
      expect(await skusOf(other)).toHaveLength(501);
      await importInto(client, ...many);
      expect((await client.get('/products/p0')).headers.get('storefront-views')).toBe('1');
    });

    it.each([[[]], [[1]], [['']], ['mug'], [Array.from({ length: 1_001 }, (_, n) => `p${n}`)]])(
      'not if they are %j',
      async (skus) => {
        expect(await remove(await shop.createTenant(), skus)).toMatchObject({
          status: 422,
          code: 'INVALID_VALUE',
        });
      },
    );
  });

  describe('of an earlier release are migrated', () => {
    /** As the earlier release wrote them. */
    const ProductsV1 = defineState<ProductV1>('product');
    const old = (n: number) => ({ key: `p${n}`, value: { sku: `p${n}`, name: 'Old', price: n } });
    const versionsOf = (tenant: string) =>
      new StateMigration(shop.storage.store(Product).forTenant(tenant)).versions();
    async function progress() {
      const { body } = await shop.client.get('/migrations/products');
      return body as { status: string; tenants: { tenant: string; written: number; failed: number }[] };
    }
    async function migrate() {
      expect((await shop.client.post('/migrations/products')).status).toBe(202);
      await until('the migration is done', async () => (await progress()).status === 'done');
      return (await progress()).tenants;
    }

    it('in the background, of all tenants, and a second run finds nothing to do', async () => {
      for (const tenant of ['old-1', 'old-2']) {
        await shop.client.put(`/tenants/${tenant}`, { name: tenant });
        await shop.storage
          .store(ProductsV1)
          .forTenant(tenant)
          .setMany([old(1), old(2)]);
      }
      const before = etagOf(await shop.client.as('old-1').get('/products/p1'));
      const first = await migrate();
      for (const tenant of ['old-1', 'old-2']) {
        expect(await versionsOf(tenant)).toEqual([{ schemaVersion: 2, entries: 2 }]);
        expect(first).toContainEqual(expect.objectContaining({ tenant, written: 2, failed: 0 }));
      }
      const read = await shop.client.as('old-1').get('/products/p1');
      expect(read.body).toEqual({ sku: 'p1', title: 'Old', priceCents: 100, tags: [] });
      expect(etagOf(read)).not.toBe(before);
      expect((await migrate()).filter(({ written }) => written > 0)).toEqual([]);
    });

    it('and a shop that closes within a run does not wait for its end', async () => {
      await shop.client.put('/tenants/old-3', { name: 'old-3' });
      // of more than a second
      const many = Array.from({ length: 800 }, (_, n) => old(n));
      const store = shop.storage.store(ProductsV1).forTenant('old-3');
      await store.loadFrom(many);
      await shop.client.post('/migrations/products');
      await until('some are written', async () =>
        (await progress()).tenants.some(({ tenant, written }) => tenant === 'old-3' && written > 0),
      );
      await shop.restart();
      expect(await progress()).toEqual({ status: 'none', tenants: [] });
      if (!shop.subject.durable) return;
      await migrate();
      expect(await versionsOf('old-3')).toEqual([{ schemaVersion: 2, entries: 800 }]);
    });
  });
});
