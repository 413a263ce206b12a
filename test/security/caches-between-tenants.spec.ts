/**
 * A shared HTTP cache before the shop never sends the answer for one tenant to another, even if it
 * ignores one of the two headers.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MemoryProvider } from '@kvent/key-value-storage';
import { Client } from '../e2e/client.js';
import { openShop, type RunningShop } from '../e2e/shop.js';
import { rfc9111, varnish, type RunningCache, type SharedCache } from './http-cache.js';

type Caller = Readonly<Record<string, string>>;

const installed = await varnish();
const caches: readonly SharedCache[] = [
  rfc9111('a cache by RFC 9111', { cacheControl: true, vary: true }),
  rfc9111('a cache that ignores Cache-Control', { cacheControl: false, vary: true }),
  rfc9111('a cache that ignores Vary', { cacheControl: true, vary: false }),
  ...(installed === undefined ? [] : [installed]),
];

const paths = [
  '/products',
  '/products/mug',
  '/products/of-acme-alone',
  '/products/of-globex-alone',
  '/carts/c1',
  '/stock/mug',
  '/stock/mug/movements',
  '/stock/mug/snapshots',
  '/orders',
] as const;

describe.each(['express', 'fastify'] as const)('The shop, on %s', (http) => {
  let shop: RunningShop;
  beforeAll(async () => {
    shop = await openShop({ openProvider: () => new MemoryProvider() }, { http });
    for (const tenant of ['acme', 'globex']) {
      const client = shop.client.as(tenant);
      await client.post('/products', { sku: `of-${tenant}-alone`, title: `Of ${tenant}`, priceCents: 1 });
      await client.put('/carts/c1/items/mug', { quantity: tenant === 'acme' ? 1 : 2 });
      await client.post('/stock/mug/receipts', { quantity: tenant === 'acme' ? 11 : 22 });
    }
  });
  afterAll(async () => await shop[Symbol.asyncDispose]());

  describe.each(caches)('behind $name', (given) => {
    let cache: RunningCache;
    beforeAll(async () => void (cache = await given.open(shop.port)));
    afterAll(async () => await cache[Symbol.asyncDispose]());

    it.each(paths)(
      'sends the same answer to GET %s, for each tenant and without one, as without the cache',
      async (path) => {
        const behind = new Client(cache.address);
        for (const [through, directly] of [
          [behind.as('acme'), shop.client.as('acme')],
          [behind.as('globex'), shop.client.as('globex')],
          [behind, shop.client],
          [behind.as('acme'), shop.client.as('acme')],
        ] as const) {
          const [cached, direct] = [await through.get(path), await directly.get(path)];
          expect([cached.status, withoutPerRequest(cached.body)]).toEqual([
            direct.status,
            withoutPerRequest(direct.body),
          ]);
          expect(cached.headers.get('etag')).toBe(direct.headers.get('etag'));
        }
      },
    );

    it.each(['/products/mug', '/products/pen'])(
      'never confuses the ETags of two tenants for %s',
      async (path) => {
        const behind = new Client(cache.address);
        for (const client of [behind, shop.client]) {
          const etag = (await client.as('acme').get(path)).headers.get('etag');
          expect(etag).not.toBeNull();
          const foreign = await client.as('globex').get(path, { 'If-None-Match': etag as string });
          expect(foreign.status).toBe(200);
          expect(foreign.headers.get('etag')).not.toBe(etag);
        }
      },
    );
  });
});

const adminKey = 'the key of the administrator';
const routes = {
  ofTenants: ['/products', '/products/mug', '/products/export', '/orders', '/reports/sales'],
  live: ['/products/mug/live', '/reports/sales/live'],
  ofAdministrator: ['/tenants', '/reports/health'],
} as const;

describe.each(['express', 'fastify'] as const)('The shop that needs keys, on %s', (http) => {
  let shop: RunningShop;
  let acme: Caller;
  const administrator: Caller = { 'X-Api-Key': adminKey };
  const stranger: Caller = {};
  beforeAll(async () => {
    shop = await openShop({ openProvider: () => new MemoryProvider() }, { http, adminKey });
    const { body } = await shop.client.with(administrator).post('/tenants/acme/keys');
    acme = { 'X-Api-Key': (body as { readonly key: string }).key, 'X-Tenant-Id': 'acme' };
  });
  afterAll(async () => await shop[Symbol.asyncDispose]());

  describe.each(caches)('behind $name', (given) => {
    let cache: RunningCache;
    beforeAll(async () => void (cache = await given.open(shop.port)));
    afterAll(async () => await cache[Symbol.asyncDispose]());

    it.each([...routes.ofTenants, ...routes.ofAdministrator])(
      'sends the answer to GET %s to no other caller',
      async (path) => {
        const isOfTenants = (routes.ofTenants as readonly string[]).includes(path);
        const [entitled, other] = isOfTenants ? [acme, administrator] : [administrator, acme];
        const statusFor = async (caller: Caller): Promise<number> =>
          (await new Client(cache.address).with(caller).get(path)).status;
        expect(await statusFor(entitled)).toBe(200);
        expect(await statusFor(stranger)).toBe(401);
        expect(await statusFor(isOfTenants ? { ...other, 'X-Tenant-Id': 'acme' } : other)).toBe(403);
        expect(await statusFor({ ...stranger, 'X-Tenant-Id': 'acme' })).toBe(401);
        expect(await statusFor(entitled)).toBe(200);
      },
    );
  });

  it.each([...routes.ofTenants, ...routes.live, ...routes.ofAdministrator, '/none', '/health', '/'])(
    'marks every answer to GET %s: with a key, with that of another, and without one',
    async (path) => {
      for (const caller of [acme, administrator, stranger]) {
        const stop = new AbortController();
        const { headers } = await shop.client.open(path, { headers: caller, signal: stop.signal });
        stop.abort();
        expect(headers.get('vary')?.split(', ')).toContain('X-Api-Key');
        const isOfAdministrator = (routes.ofAdministrator as readonly string[]).includes(path);
        expect(headers.get('cache-control')).toMatch(
          isOfAdministrator ? /^private, no-store$/ : /^private, no-cache\b/,
        );
      }
    },
  );
});

/** A body without the fields that differ in each request. */
function withoutPerRequest(body: unknown): unknown {
  if (typeof body !== 'object' || body === null) return body;
  const { correlationId: _, expiresAt: __, ...rest } = body as Record<string, unknown>;
  return rest;
}
