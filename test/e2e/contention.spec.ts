/**
 * Concurrent writers: conflicts up to the last attempt, on memory alone, because this does not
 * depend on the storage; and two shops on one storage.
 */
import { describe, expect, it } from '@jest/globals';
import { MemoryProvider } from '@kvent/key-value-storage';
import type { Batch, CommitResult } from '@kvent/key-value-storage/provider';
import type { HttpFramework } from '../../apps/storefront/src/http/adapter.js';
import { openShop, type RunningShop } from './shop.js';
import { describeTwoShops } from './describe-two-shops.js';

/** Returns a conflict for the next `conflicts` batches that check a version. */
class ConflictingProvider extends MemoryProvider {
  conflicts = 0;

  override async commit(
    batches: readonly Batch[],
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<readonly CommitResult[]> {
    const [check] = batches
      .flatMap(({ checks }) => checks)
      .filter(({ expected }) => typeof expected === 'object');
    if (this.conflicts === 0 || check === undefined) return await super.commit(batches, options);
    this.conflicts -= 1;
    return batches.map(() => ({
      outcome: 'conflict',
      address: check.address,
      expected: check.expected,
      actual: '17',
    }));
  }
}

/** Runs `beforeOrder` right before the first commit of an order. */
class InterleavingProvider extends MemoryProvider {
  beforeOrder: (() => Promise<unknown>) | undefined;

  override async commit(
    batches: readonly Batch[],
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<readonly CommitResult[]> {
    const isOrder = batches.some(({ changes }) =>
      changes.some(({ address }) => address.container === 'event:order'),
    );
    const work = isOrder ? this.beforeOrder : undefined;
    if (isOrder) this.beforeOrder = undefined;
    await work?.();
    return await super.commit(batches, options);
  }
}

async function open(http: HttpFramework): Promise<{ shop: RunningShop; provider: ConflictingProvider }> {
  const provider = new ConflictingProvider();
  return { shop: await openShop({ openProvider: () => provider }, { http }), provider };
}

describeTwoShops();

describe.each(['express', 'fastify'] as const)('With conflicts, on %s', (http) => {
  it('a price change is retried, and the answer has the number of attempts', async () => {
    const { shop, provider } = await open(http);
    await using _ = shop;
    provider.conflicts = 3;
    const answer = await shop.client.as('acme').post('/products/mug/price-changes', { by: 1 });
    expect(answer).toMatchObject({ status: 200, body: { priceCents: 851 } });
    expect(answer.headers.get('storefront-attempts')).toBe('4');
  });

  it('a price change fails after the last attempt, with Retry-After', async () => {
    const { shop, provider } = await open(http);
    await using _ = shop;
    provider.conflicts = Infinity;
    const answer = await shop.client.as('acme').post('/products/mug/price-changes', { by: 1 });
    expect(answer).toMatchObject({ status: 409, body: { code: 'STORAGE_CONFLICT', retryable: true } });
    expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    provider.conflicts = 0;
    expect((await shop.client.as('acme').get('/products/mug')).body).toMatchObject({ priceCents: 850 });
  });

  it('an order and its shipment are retried', async () => {
    const { shop, provider } = await open(http);
    await using _ = shop;
    const acme = shop.client.as('acme');
    await acme.put('/carts/c1/items/mug', { quantity: 3 });
    provider.conflicts = 5;
    const placed = await acme.post('/orders', { cart: 'c1' }, { 'Idempotency-Key': 'k1' });
    expect(placed).toMatchObject({ status: 201, body: { status: 'placed' } });
    const { id } = placed.body as { id: string };
    await acme.post(`/orders/${id}/payment`, { card: 'ok' });
    provider.conflicts = 5;
    expect(await acme.post(`/orders/${id}/shipment`)).toMatchObject({
      status: 200,
      body: { status: 'shipped' },
    });
    expect(provider.conflicts).toBe(0);
    expect((await acme.get('/stock/mug')).body).toMatchObject({ onHand: 7, reserved: 0 });
  });

  it('an item that is added to a cart during its order is ordered too', async () => {
    const provider = new InterleavingProvider();
    await using shop = await openShop({ openProvider: () => provider }, { http });
    const acme = shop.client.as('acme');
    await acme.put('/carts/c1/items/mug', { quantity: 1 });
    provider.beforeOrder = () => acme.put('/carts/c1/items/pen', { quantity: 2 });
    const placed = await acme.post('/orders', { cart: 'c1' }, { 'Idempotency-Key': 'k1' });
    expect(placed).toMatchObject({
      status: 201,
      body: {
        items: [
          { sku: 'mug', quantity: 1 },
          { sku: 'pen', quantity: 2 },
        ],
      },
    });
    expect(await acme.get('/carts/c1')).toMatchObject({ status: 404 });
  });

  it('goods that are reserved during an order are not sold twice', async () => {
    const provider = new InterleavingProvider();
    await using shop = await openShop({ openProvider: () => provider }, { http });
    const acme = shop.client.as('acme');
    for (const cart of ['c1', 'c2']) await acme.put(`/carts/${cart}/items/mug`, { quantity: 6 });
    provider.beforeOrder = () => acme.post('/orders', { cart: 'c2' }, { 'Idempotency-Key': 'k2' });
    expect(await acme.post('/orders', { cart: 'c1' }, { 'Idempotency-Key': 'k1' })).toMatchObject({
      status: 409,
      body: { code: 'INSUFFICIENT_STOCK', needed: 6, available: 4 },
    });
  });

  it('an old If-Match is not retried: the client must read again', async () => {
    const { shop, provider } = await open(http);
    await using _ = shop;
    provider.conflicts = 1;
    const acme = shop.client.as('acme');
    const etag = (await acme.get('/products/mug')).headers.get('etag') as string;
    const body = { title: 'Mug', priceCents: 1 };
    expect(await acme.put('/products/mug', body, { 'If-Match': etag })).toMatchObject({
      status: 412,
      body: { retryable: false },
    });
    expect(provider.conflicts).toBe(0);
  });
});
