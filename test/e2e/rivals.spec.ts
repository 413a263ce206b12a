/**
 * Rivals: one who is always faster, to the end of the attempts, on memory alone, for what is looked
 * at stands above the storage; and the same shop a second time.
 */
import { describe, expect, it } from '@jest/globals';
import { MemoryProvider } from '@kvent/key-value-storage';
import type { Batch, CommitResult } from '@kvent/key-value-storage/provider';
import { openShop, type RunningShop } from './shop.js';
import { twoShops } from './two-shops.js';

/** Answers that somebody was faster, so often, to whoever writes what they have read. */
class RivalProvider extends MemoryProvider {
  wins = 0;

  override async commit(
    batches: readonly Batch[],
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<readonly CommitResult[]> {
    const [check] = batches
      .flatMap(({ checks }) => checks)
      .filter(({ expected }) => typeof expected === 'object');
    if (this.wins === 0 || check === undefined) return await super.commit(batches, options);
    this.wins -= 1;
    return batches.map(() => ({
      outcome: 'conflict',
      address: check.address,
      expected: check.expected,
      actual: '17',
    }));
  }
}

/** Lets something happen right before the first order is written. */
class InterruptedProvider extends MemoryProvider {
  meanwhile: (() => Promise<unknown>) | undefined;

  override async commit(
    batches: readonly Batch[],
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<readonly CommitResult[]> {
    const isOrder = batches.some(({ changes }) =>
      changes.some(({ address }) => address.container === 'event:order'),
    );
    const work = isOrder ? this.meanwhile : undefined;
    if (isOrder) this.meanwhile = undefined;
    await work?.();
    return await super.commit(batches, options);
  }
}

async function open(): Promise<{ shop: RunningShop; rival: RivalProvider }> {
  const rival = new RivalProvider();
  return { shop: await openShop({ create: () => rival }), rival };
}

twoShops();

describe('Against rivals who are faster', () => {
  it('a price change is tried again, and says how often', async () => {
    const { shop, rival } = await open();
    await using _ = shop;
    rival.wins = 3;
    const answer = await shop.client.as('acme').post('/products/mug/price-changes', { by: 1 });
    expect(answer).toMatchObject({ status: 200, body: { priceCents: 851 } });
    expect(answer.headers.get('storefront-attempts')).toBe('4');
  });

  it('a price change gives up in the end, and says when to come back', async () => {
    const { shop, rival } = await open();
    await using _ = shop;
    rival.wins = Infinity;
    const answer = await shop.client.as('acme').post('/products/mug/price-changes', { by: 1 });
    expect(answer).toMatchObject({ status: 409, body: { code: 'STORAGE_CONFLICT', retryable: true } });
    expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    rival.wins = 0;
    expect((await shop.client.as('acme').get('/products/mug')).body).toMatchObject({ priceCents: 850 });
  });

  it('an order is tried again, and so is all that becomes of it', async () => {
    const { shop, rival } = await open();
    await using _ = shop;
    const acme = shop.client.as('acme');
    await acme.put('/carts/c1/items/mug', { quantity: 3 });
    rival.wins = 5;
    const placed = await acme.post('/orders', { cart: 'c1' }, { 'Idempotency-Key': 'k1' });
    expect(placed).toMatchObject({ status: 201, body: { status: 'placed' } });
    const { id } = placed.body as { id: string };
    await acme.post(`/orders/${id}/payment`, { card: 'ok' });
    rival.wins = 5;
    expect(await acme.post(`/orders/${id}/shipment`)).toMatchObject({
      status: 200,
      body: { status: 'shipped' },
    });
    expect(rival.wins).toBe(0);
    expect((await acme.get('/stock/mug')).body).toMatchObject({ onHand: 7, reserved: 0 });
  });

  it('what is put into a cart while it is ordered is ordered too, and not lost', async () => {
    const provider = new InterruptedProvider();
    await using shop = await openShop({ create: () => provider });
    const acme = shop.client.as('acme');
    await acme.put('/carts/c1/items/mug', { quantity: 1 });
    provider.meanwhile = () => acme.put('/carts/c1/items/pen', { quantity: 2 });
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

  it('goods that are gone while an order is written are not sold', async () => {
    const provider = new InterruptedProvider();
    await using shop = await openShop({ create: () => provider });
    const acme = shop.client.as('acme');
    for (const cart of ['c1', 'c2']) await acme.put(`/carts/${cart}/items/mug`, { quantity: 6 });
    provider.meanwhile = () => acme.post('/orders', { cart: 'c2' }, { 'Idempotency-Key': 'k2' });
    expect(await acme.post('/orders', { cart: 'c1' }, { 'Idempotency-Key': 'k1' })).toMatchObject({
      status: 409,
      body: { code: 'INSUFFICIENT_STOCK', needed: 6, available: 4 },
    });
  });

  it('a stale If-Match is not tried again: it is the client who has to look', async () => {
    const { shop, rival } = await open();
    await using _ = shop;
    rival.wins = 1;
    const acme = shop.client.as('acme');
    const etag = (await acme.get('/products/mug')).headers.get('etag') as string;
    const body = { title: 'Mug', priceCents: 1 };
    expect(await acme.put('/products/mug', body, { 'If-Match': etag })).toMatchObject({
      status: 412,
      body: { retryable: false },
    });
    expect(rival.wins).toBe(0);
  });
});
