/** `kill -9` in the middle of the checkout: what apps/storefront/README.md says of it. */
import { describe, expect, it } from '@jest/globals';
import { openStorage } from '@kvent/key-value-storage';
import { until } from '../postgres/until.js';
import type { Client } from './client.js';
import { ShopProcess } from './shop-process.js';
import { Shoppers } from './shoppers.js';
import { lasting } from './storages.js';

export function checkoutCrashes(): void {
  describe.each(lasting)('The checkout, on $name', (storage) => {
    it('sells no unit twice, makes no order twice and loses no reservation, also when it is killed in the middle and started again', async () => {
      await using place = await storage.place();
      // a slow card takes longer than the test: its payment is under way until the shop is killed
      const options = {
        storage: place.setting,
        env: { STOREFRONT_BANK: 'unreliable', STOREFRONT_SLOW_CARD_MS: '3600000' },
      };
      const shoppers = new Shoppers();
      await using first = await ShopProcess.open(options);
      await shoppers.begin(first.client);
      const order = await payingSlowly(first.client.as('acme'));
      const shopping = shoppers.shop(first.client);
      // at this moment some have ordered and not paid, so nobody has to be quick to kill it before
      // all are done
      await Promise.race([shoppers.reached({ ordered: 15, paid: 5 }), shopping]);
      await first.kill('SIGKILL');
      expect(await shopping).toBe(false);

      await using second = await ShopProcess.open(options);
      const acme = second.client.as('acme');
      await assertHeld(acme, order);
      expect(await shoppers.shop(second.client)).toBe(true);
      await shoppers.assertTrue(second.client);
      await assertFreeAgain(acme, order);
      expect(await second.kill('SIGTERM')).toMatchObject({ code: 0 });
      await using kept = await openStorage(place.create());
      await shoppers.assertBooks(kept);
    });
  });
}

/** An order whose payment is under way for as long as the shop lives. */
async function payingSlowly(acme: Client): Promise<string> {
  await acme.put('/carts/slow/items/pen', { quantity: 7 });
  const { body } = await acme.post('/orders', { cart: 'slow' }, { 'Idempotency-Key': 'slow' });
  const { id } = body as { id: string };
  let isOver = true;
  await until('the slow payment holds its order', async () => {
    if (isOver) {
      // the first time; and again where the machine has stood still until the payment had lost its
      // order
      isOver = false;
      acme.post(`/orders/${id}/payment`, { card: 'slow' }).then(
        () => (isOver = true),
        () => undefined, // the shop was killed
      );
    }
    const answer = await acme.post(`/orders/${id}/shipment`);
    if (answer.status !== 409) expect(answer).toMatchObject({ status: 423, body: { code: 'STREAM_LOCKED' } });
    return answer.status === 423;
  });
  return id;
}

/** Its holder is dead, and nobody knows yet. */
async function assertHeld(acme: Client, order: string): Promise<void> {
  const answer = await acme.post(`/orders/${order}/payment`, { card: 'ok' });
  // where the machine is slow, its time may be over already
  if (answer.status !== 423) return void expect(answer).toMatchObject({ status: 502 });
  expect(Number(answer.headers.get('retry-after'))).toBeLessThanOrEqual(5);
  expect((await acme.get(`/orders/${order}`)).body).toMatchObject({ status: 'placed' });
  expect((await acme.get('/stock/pen')).body).toMatchObject({ onHand: 500, reserved: 7 });
}

async function assertFreeAgain(acme: Client, order: string): Promise<void> {
  await until('the order is paid', async () => {
    const answer = await acme.post(`/orders/${order}/payment`, { card: 'ok' });
    if (answer.status !== 423 && answer.status !== 502)
      expect(answer).toMatchObject({ status: 200, body: { status: 'paid' } });
    return answer.status === 200;
  });
  const { items } = (await acme.get(`/orders/${order}/events`)).body as { items: { type: string }[] };
  expect(items.map(({ type }) => type)).toEqual(['placed', 'paid']);
  expect((await acme.get('/stock/pen')).body).toMatchObject({ onHand: 500, reserved: 7 });
}
