/**
 * The checkout under load: 50 concurrent shoppers, repeated requests, and a bank that fails two
 * times of three. With `kill -9`: process.spec.ts.
 */
import { expect, it } from '@jest/globals';
import { unreliableTransport } from '../../apps/storefront/src/orders/bank.js';
import { onEachStorage } from './shop.js';
import { Shoppers } from './shoppers.js';
import { storages } from './storages.js';

onEachStorage(
  'The checkout',
  (shop) => {
    it('sells no unit twice, creates no order twice and loses no reservation under load', async () => {
      const shoppers = new Shoppers();
      await shoppers.prepare(shop.client);
      expect(await shoppers.shopAt(shop.client)).toBe(true);
      await shoppers.assertConsistent(shop.client);
      await shoppers.assertBooks(shop.storage);
    });
  },
  storages,
  { bankTransport: unreliableTransport() },
);
