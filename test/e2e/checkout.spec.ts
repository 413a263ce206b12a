/**
 * The checkout, hammered: 50 shoppers at once, repeated requests, and a bank that fails two times
 * of three. With `kill -9` in the middle: process.spec.ts.
 */
import { expect, it } from '@jest/globals';
import { unreliableTransport } from '../../apps/storefront/src/orders/bank.js';
import { onEachStorage } from './shop.js';
import { Shoppers } from './shoppers.js';
import { storages } from './storages.js';

onEachStorage(
  'The checkout',
  (shop) => {
    it('sells no unit twice, makes no order twice and loses no reservation, whoever hammers it', async () => {
      const shoppers = new Shoppers();
      await shoppers.begin(shop.client);
      expect(await shoppers.shop(shop.client)).toBe(true);
      await shoppers.assertTrue(shop.client);
      await shoppers.assertBooks(shop.kept);
    });
  },
  storages,
  { line: unreliableTransport() },
);
