/** `kill -9` during a checkout, as described in apps/storefront/README.md. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { openStorage } from '@kvent/key-value-storage';
import { until } from '../postgres/until.js';
import type { Client } from './client.js';
import { ShopProcess } from './shop-process.js';
import { Shoppers } from './shoppers.js';
import { durableStorages } from './storages.js';

export function describeCheckoutCrashes(): void {
  describe.each(durableStorages)('The checkout, on $name', (storage) => {
    it('sells no unit twice, creates no order twice and loses no reservation if the shop is killed and restarted', async () => {
      await using place = await storage.create();
      await using folder = await temporaryFolder();
      const mails = join(folder.path, 'mails');
      // A slow card takes longer than the test: its payment is in progress until the shop is
      // killed.
      const options = {
        storage: place.setting,
        env: {
          STOREFRONT_BANK: 'unreliable',
          STOREFRONT_SLOW_CARD_MS: '3600000',
          STOREFRONT_HTTP: storage.http,
          STOREFRONT_MAILS: mails,
        },
      };
      const shoppers = new Shoppers();
      await using first = await ShopProcess.open(options);
      await shoppers.prepare(first.client);
      const order = await startSlowPayment(first.client.as('acme'));
      const shopping = shoppers.shopAt(first.client);
      // At this point some shoppers have ordered and not paid, so the kill needs no exact moment.
      await Promise.race([shoppers.reached({ ordered: 15, paid: 5 }), shopping]);
      await first.kill('SIGKILL');
      expect(await shopping).toBe(false);

      await using second = await ShopProcess.open(options);
      const acme = second.client.as('acme');
      await assertHeld(acme, order);
      expect(await shoppers.shopAt(second.client)).toBe(true);
      await shoppers.assertConsistent(second.client);
      await assertPayable(acme, order);
      await assertMails(second.client.as('market'), mails);
      await assertMailHealth(second.client);
      expect(await second.kill('SIGTERM')).toMatchObject({ code: 0 });
      await using kept = await openStorage(place.openProvider());
      await shoppers.assertBooks(kept);
    });
  });
}

async function temporaryFolder() {
  const path = await mkdtemp(join(tmpdir(), 'kvent-mails-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Each order has one mail, though the process that sends them was killed. */
async function assertMails(market: Client, folder: string): Promise<void> {
  const { items } = (await market.get('/orders?limit=1000')).body as { items: { id: string }[] };
  const ordered = items.map(({ id }) => id).sort();
  let mailed: readonly string[] = [];
  await until('each order has a mail', async () => {
    // drafts of the killed process begin with a dot
    const names = (await readdir(folder)).filter((name) => !name.startsWith('.'));
    const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')));
    const mails = texts.map((text) => JSON.parse(text) as { tenant: string; order: string });
    mailed = mails.filter(({ tenant }) => tenant === 'market').map(({ order }) => order);
    return mailed.length >= ordered.length;
  });
  expect([...mailed].sort()).toEqual(ordered);
}

/** The partitions of the killed process are read too. */
async function assertMailHealth(client: Client): Promise<void> {
  await until('the mails are caught up', async () => {
    const { body } = await client.get('/reports/health');
    const { reactions } = body as { reactions: { lag: { events: number } }[] };
    const [mails] = reactions;
    expect(mails).toMatchObject({ reaction: 'order-mails', parked: 0 });
    return mails?.lag.events === 0;
  });
}

/** An order whose payment stays in progress until the shop is killed. */
async function startSlowPayment(acme: Client): Promise<string> {
  await acme.put('/carts/slow/items/pen', { quantity: 7 });
  const { body } = await acme.post('/orders', { cart: 'slow' }, { 'Idempotency-Key': 'slow' });
  const { id } = body as { id: string };
  let isPaymentOver = true;
  await until('the slow payment holds its order', async () => {
    if (isPaymentOver) {
      // The first time, and again if a stalled machine let the session of the payment expire.
      isPaymentOver = false;
      acme.post(`/orders/${id}/payment`, { card: 'slow' }).then(
        () => (isPaymentOver = true),
        () => undefined, // the shop was killed
      );
    }
    const answer = await acme.post(`/orders/${id}/shipment`);
    if (answer.status !== 409) expect(answer).toMatchObject({ status: 423, body: { code: 'STREAM_LOCKED' } });
    return answer.status === 423;
  });
  return id;
}

/** The session of the killed process still holds the order. */
async function assertHeld(acme: Client, order: string): Promise<void> {
  const answer = await acme.post(`/orders/${order}/payment`, { card: 'ok' });
  // On a slow machine the session may have expired already.
  if (answer.status !== 423) return void expect(answer).toMatchObject({ status: 502 });
  expect(Number(answer.headers.get('retry-after'))).toBeLessThanOrEqual(5);
  expect((await acme.get(`/orders/${order}`)).body).toMatchObject({ status: 'placed' });
  expect((await acme.get('/stock/pen')).body).toMatchObject({ onHand: 500, reserved: 7 });
}

async function assertPayable(acme: Client, order: string): Promise<void> {
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
