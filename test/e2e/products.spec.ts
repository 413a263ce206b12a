import { describe, expect, it } from '@jest/globals';
import { Product } from '../../apps/storefront/src/catalogue/product.js';
import { etagOf, resolve, type Answer, type Client } from './client.js';
import { until } from '../postgres/until.js';
import { onEachStorage } from './shop.js';

const mug = { sku: 'mug', title: 'Mug', priceCents: 850 };
const stored = { ...mug, tags: [] };
const stale = { 'If-Match': '"1"' };

const add = (client: Client, product: object = mug): Promise<Answer> => client.post('/products', product);
const problem = (status: number, code: string): object => ({
  status,
  body: expect.objectContaining({ status, code, retryable: false }),
});

onEachStorage('Products', (shop) => {
  describe('are added', () => {
    it('with an address and an ETag', async () => {
      const client = await shop.createTenant();
      const added = await add(client, { ...mug, tags: ['new'] });
      expect(added).toMatchObject({ status: 201, body: { ...mug, tags: ['new'] } });
      expect(added.headers.get('location')).toBe('/products/mug');
      const read = await client.get('/products/mug');
      expect(read).toMatchObject({ status: 200, body: { ...mug, tags: ['new'] } });
      expect(etagOf(read)).toBe(etagOf(added));
    });

    it('once: a second time is a conflict, and changes nothing', async () => {
      const client = await shop.createTenant();
      await add(client);
      expect(await add(client, { ...mug, priceCents: 1 })).toMatchObject(problem(409, 'KEY_EXISTS'));
      expect((await client.get('/products/mug')).body).toEqual(stored);
    });

    it('once by many concurrent requests', async () => {
      const client = await shop.createTenant();
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, priceCents) => add(client, { ...mug, priceCents })),
      );
      expect(answers.map(({ status }) => status).sort()).toEqual([
        201,
        ...Array.from({ length: 19 }, () => 409),
      ]);
      const created = answers.find(({ status }) => status === 201);
      expect((await client.get('/products/mug')).body).toEqual(created?.body);
    });

    it('only if valid, and the answer names each issue', async () => {
      const client = await shop.createTenant();
      const { status, body } = await add(client, { sku: 'm/g', title: '', priceCents: -1 });
      expect(status).toBe(422);
      const { code, issues } = body as { code: string; issues: { path: string[] }[] };
      expect(code).toBe('INVALID_VALUE');
      expect(issues.map(({ path }) => path)).toEqual([['sku'], ['title'], ['priceCents']]);
      expect((await client.get('/products')).body).toEqual({ items: [] });
    });
  });

  describe('are read', () => {
    it('without a body if the ETag is current', async () => {
      const client = await shop.createTenant();
      const etag = etagOf(await add(client));
      const again = await client.get('/products/mug', { 'If-None-Match': etag });
      expect(again).toMatchObject({ status: 304, text: '' });
      expect(etagOf(again)).toBe(etag);
      expect(await client.get('/products/mug', { 'If-None-Match': '"1"' })).toMatchObject({
        status: 200,
        body: stored,
      });
    });

    it('and each view is counted, also of many at once', async () => {
      const client = await shop.createTenant();
      const etag = etagOf(await add(client));
      const views = async (headers = {}) =>
        Number((await client.get('/products/mug', headers)).headers.get('storefront-views'));
      const seen = await Promise.all(Array.from({ length: 20 }, () => views()));
      expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
      expect(await views({ 'If-None-Match': etag })).toBe(21);
      await client.delete('/products/mug', { 'If-Match': etag });
      await add(client);
      expect(await views()).toBe(1);
    });

    it('only if they exist', async () => {
      expect(await (await shop.createTenant()).get('/products/mug')).toMatchObject(
        problem(404, 'KEY_NOT_FOUND'),
      );
    });

    it('in the current schema, also if an older release wrote them', async () => {
      // the demo data are written as version 1: { sku, name, price }
      expect((await shop.client.as('acme').get('/products/shirt')).body).toEqual({
        sku: 'shirt',
        title: 'Shirt',
        priceCents: 1990,
        tags: [],
      });
    });
  });

  describe('are replaced', () => {
    const dearer = { title: 'Big mug', priceCents: 900 };

    it('with a current ETag', async () => {
      const client = await shop.createTenant();
      const before = etagOf(await add(client));
      const replaced = await client.put('/products/mug', dearer, { 'If-Match': before });
      expect(replaced).toMatchObject({ status: 200, body: { sku: 'mug', ...dearer, tags: [] } });
      expect(etagOf(replaced)).not.toBe(before);
      expect(etagOf(await client.get('/products/mug'))).toBe(etagOf(replaced));
    });

    it('neither without an ETag nor with an old one', async () => {
      const client = await shop.createTenant();
      const before = { 'If-Match': etagOf(await add(client)) };
      expect(await client.put('/products/mug', dearer)).toMatchObject(problem(428, 'PRECONDITION_REQUIRED'));
      expect(await client.put('/products/mug', dearer, before)).toMatchObject({ status: 200 });
      expect(await client.put('/products/mug', { ...dearer, title: 'Late' }, before)).toMatchObject(
        problem(412, 'STORAGE_CONFLICT'),
      );
      expect((await client.get('/products/mug')).body).toMatchObject(dearer);
    });

    it('with * in any version, but not if absent', async () => {
      const client = await shop.createTenant();
      expect(await client.put('/products/mug', dearer, { 'If-Match': '*' })).toMatchObject(
        problem(412, 'STORAGE_CONFLICT'),
      );
      await add(client);
      expect(await client.put('/products/mug', dearer, { 'If-Match': '*' })).toMatchObject({ status: 200 });
    });

    it('or created with If-None-Match: *, once', async () => {
      const client = await shop.createTenant();
      const create = (priceCents: number) =>
        client.put('/products/mug', { title: 'Mug', priceCents }, { 'If-None-Match': '*' });
      const answers = await Promise.all([850, 900, 950].map(create));
      expect(answers.map(({ status }) => status).sort()).toEqual([201, 412, 412]);
      const created = answers.find(({ status }) => status === 201) as Answer;
      expect((await client.get('/products/mug')).body).toEqual(created.body);
      expect(etagOf(await client.get('/products/mug'))).toBe(etagOf(created));
      expect(await client.put('/products/pen', dearer, { 'If-None-Match': '"1"' })).toMatchObject(
        problem(400, 'INVALID_ETAG'),
      );
    });

    it.each([
      ['mug', 400, 'INVALID_ETAG'],
      ['"', 400, 'INVALID_ETAG'],
      ['W/"1"', 412, 'STORAGE_CONFLICT'],
      ['"1", "2"', 412, 'STORAGE_CONFLICT'],
      ['""', 412, 'STORAGE_CONFLICT'],
    ])('not under the condition %p', async (condition, status, code) => {
      const client = await shop.createTenant();
      await add(client);
      expect(await client.put('/products/mug', dearer, { 'If-Match': condition })).toMatchObject(
        problem(status, code),
      );
      expect((await client.get('/products/mug')).body).toEqual(stored);
    });

    it('with the body that was read, but not with another sku', async () => {
      const client = await shop.createTenant();
      const read = await add(client);
      const condition = { 'If-Match': etagOf(read) };
      expect(await client.put('/products/mug', { ...mug, sku: 'pen' }, condition)).toMatchObject(
        problem(422, 'INVALID_VALUE'),
      );
      expect(await client.put('/products/mug', read.body, condition)).toMatchObject({
        status: 200,
        body: stored,
      });
    });

    it('only with valid products', async () => {
      const client = await shop.createTenant();
      const condition = { 'If-Match': etagOf(await add(client)) };
      const { status, body } = await client.put(
        '/products/mug',
        { title: 'Mug', priceCents: 'a lot' },
        condition,
      );
      expect([status, (body as { issues: { path: string[] }[] }).issues.map(({ path }) => path)]).toEqual([
        422,
        [['priceCents']],
      ]);
    });
  });

  describe('are removed', () => {
    it('with a current ETag, once', async () => {
      const client = await shop.createTenant();
      const condition = { 'If-Match': etagOf(await add(client)) };
      expect(await client.delete('/products/mug')).toMatchObject(problem(428, 'PRECONDITION_REQUIRED'));
      expect(await client.delete('/products/mug', stale)).toMatchObject(problem(412, 'STORAGE_CONFLICT'));
      expect(await client.delete('/products/mug', condition)).toMatchObject({ status: 204, text: '' });
      expect(await client.get('/products/mug')).toMatchObject({ status: 404 });
      expect(await client.delete('/products/mug', condition)).toMatchObject(problem(412, 'STORAGE_CONFLICT'));
    });

    it('and the former etag does not match a new product of the same sku', async () => {
      const client = await shop.createTenant();
      const first = etagOf(await add(client));
      await client.delete('/products/mug', { 'If-Match': first });
      const second = etagOf(await add(client));
      expect(second).not.toBe(first);
      expect(await client.put('/products/mug', mug, { 'If-Match': first })).toMatchObject({ status: 412 });
    });
  });

  describe('change their price', () => {
    const change = (client: Client, by: unknown): Promise<Answer> =>
      client.post('/products/mug/price-changes', { by });

    it('up and down, with the number of attempts', async () => {
      const client = await shop.createTenant();
      await add(client);
      const raised = await change(client, 50);
      expect(raised).toMatchObject({ status: 200, body: { ...stored, priceCents: 900 } });
      expect(raised.headers.get('storefront-attempts')).toBe('1');
      expect(etagOf(raised)).toBe(etagOf(await client.get('/products/mug')));
      expect((await change(client, -900)).body).toMatchObject({ priceCents: 0 });
    });

    it('once for all repeats with one key, also concurrently and after a further change', async () => {
      const client = await shop.createTenant();
      await add(client);
      const lower = async (by = -500) =>
        await client.post('/products/mug/price-changes', { by }, { 'Idempotency-Key': 'k-1' });
      const answers = await Promise.all(Array.from({ length: 5 }, () => lower()));
      await change(client, 50);
      for (const { status, body, headers } of [...answers, await lower()])
        expect([status, body, headers.get('etag')]).toEqual([
          200,
          { ...stored, priceCents: 350 },
          answers[0]?.headers.get('etag'),
        ]);
      expect((await client.get('/products/mug')).body).toMatchObject({ priceCents: 400 });
      expect(await lower(-1)).toMatchObject({ status: 422, body: { code: 'IDEMPOTENCY_CONFLICT' } });
    });

    it('20 times concurrently, and none is lost', async () => {
      const client = await shop.createTenant();
      await add(client);
      const answers = await Promise.all(Array.from({ length: 20 }, () => change(client, 1)));
      expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200));
      expect(answers.map(({ body }) => (body as { priceCents: number }).priceCents).sort()).toEqual(
        Array.from({ length: 20 }, (_, n) => 851 + n),
      );
      expect((await client.get('/products/mug')).body).toMatchObject({ priceCents: 870 });
    });

    it('never below zero', async () => {
      const client = await shop.createTenant();
      await add(client);
      const { status, body } = await change(client, -851);
      expect([status, (body as { issues: { path: string[] }[] }).issues.map(({ path }) => path)]).toEqual([
        422,
        [['priceCents']],
      ]);
      expect((await client.get('/products/mug')).body).toEqual(stored);
    });

    it.each([[0.5], ['1'], [null], [1e20]])('not by %p', async (by) => {
      const client = await shop.createTenant();
      await add(client);
      expect(await change(client, by)).toMatchObject(problem(422, 'INVALID_VALUE'));
    });

    it('only if they exist', async () => {
      expect(await change(await shop.createTenant(), 1)).toMatchObject(problem(404, 'KEY_NOT_FOUND'));
    });
  });

  describe('are listed', () => {
    const skus = ['bag', 'cap', 'mug', 'mug-large', 'pen'];
    const tenantWithProducts = async (): Promise<Client> => {
      const client = await shop.createTenant();
      for (const sku of skus) await add(client, { ...mug, sku });
      return client;
    };
    const linkIn = (headers: Headers, relation: string): string | undefined =>
      new RegExp(`<([^>]+)>; rel="${relation}"`).exec(headers.get('link') ?? '')?.[1];
    /** Follows the Link headers page by page. */
    async function follow(client: Client, first: string): Promise<string[][]> {
      const pages: string[][] = [];
      for (let path: string | undefined = first; path !== undefined;) {
        const { status, headers, body } = await client.get(path);
        const { items, next } = body as { items: { sku: string }[]; next?: string };
        expect(status).toBe(200);
        pages.push(items.map(({ sku }) => sku));
        const link = linkIn(headers, 'next');
        expect(link === undefined).toBe(next === undefined);
        path = link && resolve(link, path);
      }
      return pages;
    }

    it('in the order of their sku', async () => {
      const client = await tenantWithProducts();
      const { body } = await client.get('/products');
      expect(body).toEqual({ items: skus.map((sku) => ({ ...stored, sku })) });
    });

    it('page by page, by the Link header', async () => {
      expect(await follow(await tenantWithProducts(), '/products?limit=2')).toEqual([
        ['bag', 'cap'],
        ['mug', 'mug-large'],
        ['pen'],
      ]);
    });

    it('and back, by the Link to the previous page', async () => {
      const client = await tenantWithProducts();
      const pathAfter = async (path: string, relation: string): Promise<string> =>
        resolve(linkIn((await client.get(path)).headers, relation) ?? '', path);
      const second = await pathAfter('/products?limit=2', 'next');
      const third = await pathAfter(second, 'next');
      for (const [path, expected] of [
        [await pathAfter(third, 'prev'), ['mug', 'mug-large']],
        [await pathAfter(second, 'prev'), ['bag', 'cap']],
      ] as const) {
        const { items } = (await client.get(path)).body as { items: { sku: string }[] };
        expect(items.map(({ sku }) => sku)).toEqual(expected);
      }
    });

    it('in reverse order', async () => {
      expect(await follow(await tenantWithProducts(), '/products?limit=3&order=desc')).toEqual([
        ['pen', 'mug-large', 'mug'],
        ['cap', 'bag'],
      ]);
    });

    it('by a prefix of their sku', async () => {
      expect(await follow(await tenantWithProducts(), '/products?limit=1&prefix=mug')).toEqual([
        ['mug'],
        ['mug-large'],
      ]);
    });

    it('in the order of their price, also after a change of one', async () => {
      const client = await shop.createTenant();
      for (const [n, sku] of skus.entries()) await add(client, { ...mug, sku, priceCents: 100 * (5 - n) });
      const byPrice = '/products?sort=price&limit=2';
      expect((await follow(client, byPrice)).flat()).toEqual(skus.toReversed());
      await client.post(`/products/${skus[0]}/price-changes`, { by: -450 });
      expect((await follow(client, byPrice)).flat()).toEqual([skus[0], ...skus.slice(1).toReversed()]);
      expect((await follow(client, `${byPrice}&order=desc`)).flat()).toEqual([...skus.slice(1), skus[0]]);
    });

    it.each([
      ['sort=price&prefix=a', 'INVALID_OPTION'],
      ['sort=title', 'INVALID_OPTION'],
      ['limit=0', 'OUT_OF_RANGE'],
      ['limit=two', 'OUT_OF_RANGE'],
      ['limit=1&limit=2', 'OUT_OF_RANGE'],
      ['order=up', 'OUT_OF_RANGE'],
      ['prefix=', 'INVALID_OPTION'],
      ['lmit=1', 'INVALID_OPTION'],
    ])('not by %s', async (query, code) => {
      expect(await (await shop.createTenant()).get(`/products?${query}`)).toMatchObject(problem(400, code));
    });

    it('not with an invalid cursor', async () => {
      expect(await (await shop.createTenant()).get('/products?cursor=nonsense')).toMatchObject(
        problem(400, 'INVALID_CURSOR'),
      );
    });

    it('not 1,001 at once', async () => {
      expect(await (await shop.createTenant()).get('/products?limit=1001')).toMatchObject({
        status: 413,
        body: { code: 'LIMIT_EXCEEDED', given: 1001, allowed: 1000 },
      });
    });

    it('not with a cursor of another list or another tenant', async () => {
      const client = await tenantWithProducts();
      const { next } = (await client.get('/products?limit=2')).body as { next: string };
      expect(await client.get(`/products?order=desc&cursor=${next}`)).toMatchObject(
        problem(400, 'INVALID_CURSOR'),
      );
      expect(await (await tenantWithProducts()).get(`/products?cursor=${next}`)).toMatchObject(
        problem(400, 'INVALID_CURSOR'),
      );
    });
  });

  describe('are exported', () => {
    it('as JSON lines, in the order of their sku, those of the tenant alone', async () => {
      const [client, other] = [await shop.createTenant(), await shop.createTenant()];
      expect(await client.get('/products/export')).toMatchObject({ status: 200, text: '' });
      await add(other, { ...mug, title: 'of another' });
      for (const sku of ['pen', 'mug']) await add(client, { ...mug, sku });
      const { status, headers, text } = await client.get('/products/export');
      expect([status, headers.get('content-type')]).toEqual([200, 'application/x-ndjson']);
      const lines = text.trimEnd().split('\n');
      expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([stored, { ...stored, sku: 'pen' }]);
    });

    it('so no product has this sku', async () => {
      const client = await shop.createTenant();
      for (const sku of ['export', 'Export'])
        expect(await add(client, { ...mug, sku })).toMatchObject(problem(422, 'INVALID_VALUE'));
      expect((await add(client, { ...mug, sku: 'exported' })).status).toBe(201);
    });

    it('once at a time for a tenant: clients that do not read, or go away, delay no other request', async () => {
      const other = await shop.createTenant();
      await add(other);
      await shop.client.put('/tenants/leaver', { name: 'leaver' });
      // more than a connection buffers
      const tags = Array.from({ length: 50 }, (_, tag) => `${tag}`.padEnd(50, 'x'));
      const items = Array.from({ length: 4_000 }, (_, index) => {
        const sku = `p${index}`;
        return { key: sku, value: { ...mug, sku, tags } };
      });
      await shop.storage.store(Product).forTenant('leaver').loadFrom(items);
      const leaver = shop.client.as('leaver');

      const unread = new AbortController();
      const clients = Array.from({ length: 12 }, () => leaver.open('/products/export', unread));
      const refused = (await Promise.all(clients)).filter(({ status }) => status !== 200);
      expect(refused).toHaveLength(11);
      for (const response of refused) {
        expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1']);
        expect(await response.json()).toMatchObject({ code: 'EXPORT_IN_PROGRESS', retryable: true });
      }
      expect((await other.get('/products/mug')).status).toBe(200);
      expect((await other.get('/products/export')).text.split('\n')).toHaveLength(2);
      unread.abort();

      // more than once for each connection of the pool: one that is kept would be missing
      for (let times = 0; times < 12; times += 1) {
        const left = new AbortController();
        // once the shop has seen that the client before is gone
        await until('an export begins', async () => {
          const { status } = await leaver.open('/products/export', { signal: left.signal });
          return status === 200;
        });
        left.abort();
      }
      expect((await other.get('/products/export')).text.split('\n')).toHaveLength(2);
    });
  });
});
