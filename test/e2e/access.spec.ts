/** The shop with `STOREFRONT_AUTH=keys`. */
import { expect, it } from '@jest/globals';
import { ApiKeys } from '../../apps/storefront/src/access/api-key.js';
import type { Client } from './client.js';
import { onEachStorage } from './shop.js';
import { storages } from './storages.js';

const adminKey = 'the key of the administrator';
/** On memory alone, so on both frameworks. */
const inMemory = storages
  .filter(({ name }) => name === 'memory')
  .flatMap((storage) => (['express', 'fastify'] as const).map((http) => ({ ...storage, http })));

onEachStorage(
  'A shop that needs keys',
  (shop) => {
    const asAdmin = (): Client => shop.client.with({ 'X-Api-Key': adminKey });
    const keyOf = async (tenant: string): Promise<string> => {
      const { status, body, headers } = await asAdmin().post(`/tenants/${tenant}/keys`);
      expect(status).toBe(201);
      expect(headers.get('cache-control')).toBe('private, no-store');
      return (body as { readonly key: string }).key;
    };
    const outcome = async (client: Client, path = '/products/mug') => {
      const { status, body } = await client.get(path);
      return [status, (body as { readonly code?: string }).code];
    };

    it('lets a tenant in by its own key, and no other tenant', async () => {
      const acme = shop.client.with({ 'X-Api-Key': await keyOf('acme') });
      expect(await outcome(acme.as('acme'))).toEqual([200, undefined]);
      expect(await outcome(acme.as('globex'))).toEqual([403, 'FORBIDDEN']);
      expect(await outcome(acme)).toEqual([400, 'TENANT_MISSING']);
    });

    it('says without a key neither which tenants exist nor what they have', async () => {
      for (const key of [undefined, 'guessed', ''])
        for (const tenant of ['acme', 'unknown']) {
          const client = key === undefined ? shop.client : shop.client.with({ 'X-Api-Key': key });
          expect(await outcome(client.as(tenant))).toEqual([401, 'UNAUTHENTICATED']);
          expect(await outcome(client, '/tenants')).toEqual([401, 'UNAUTHENTICATED']);
        }
    });

    it('keeps the responses to different keys apart in caches', async () => {
      const client = shop.client.with({ 'X-Api-Key': await keyOf('acme') }).as('acme');
      expect((await client.get('/products/mug')).headers.get('vary')).toMatch(/X-Api-Key/i);
    });

    it('lets only the administrator see the health of projections, migrate, list and create tenants and issue keys', async () => {
      const acme = shop.client.with({ 'X-Api-Key': await keyOf('acme') });
      for (const path of ['/tenants', '/reports/health', '/migrations/products'])
        expect(await outcome(acme, path)).toEqual([403, 'FORBIDDEN']);
      expect((await asAdmin().get('/reports/health')).status).toBe(200);
      expect((await acme.put('/tenants/mine', { name: 'Mine' })).status).toBe(403);
      expect((await acme.post('/tenants/globex/keys')).status).toBe(403);
      expect((await acme.post('/migrations/products')).status).toBe(403);
      expect((await shop.client.post('/migrations/products')).status).toBe(401);
      expect((await asAdmin().post('/migrations/products')).status).toBe(202);
      expect((await shop.client.post('/tenants/globex/keys')).status).toBe(401);
      expect((await asAdmin().put('/tenants/mine', { name: 'Mine' })).status).toBe(201);
      expect((await asAdmin().post('/tenants/none/keys')).body).toMatchObject({ code: 'TENANT_UNKNOWN' });
    });

    it('does not let the administrator into the data of a tenant', async () => {
      expect(await outcome(asAdmin().as('acme'))).toEqual([403, 'FORBIDDEN']);
    });

    it('stores no key', async () => {
      const key = await keyOf('acme');
      const rows: string[] = [];
      for await (const entry of shop.storage.store(ApiKeys).list()) rows.push(JSON.stringify(entry));
      expect(rows.length).toBeGreaterThan(0);
      expect(rows.join('\n')).not.toContain(key);
    });

    it('answers health checks and shows the demo without a key', async () => {
      expect((await shop.client.get('/health')).status).toBe(200);
      expect((await shop.client.get('/')).status).toBe(200);
    });
  },
  inMemory,
  { adminKey },
);

onEachStorage(
  'A shop that needs no keys',
  (shop) => {
    it('issues none', async () => {
      expect((await shop.client.post('/tenants/acme/keys')).body).toMatchObject({ code: 'NO_KEYS_NEEDED' });
    });
  },
  inMemory,
);
