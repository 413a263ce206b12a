/**
 * The compiled shop as a process. The first start and the one on Postgres are those of users, `node
 * apps/storefront/dist/main.js`; the others start a bundle of the same files.
 */
import { beforeAll } from '@jest/globals';
import { describeCheckoutCrashes } from './describe-checkout-crashes.js';
import { describeCrashes } from './describe-crashes.js';
import { build } from '../packaging/build.js';
import { describeStartUp } from './describe-start-up.js';
import { bundleShop } from './shop-process.js';

beforeAll(async () => {
  await build();
  await bundleShop();
});

describeStartUp();
describeCrashes();
describeCheckoutCrashes();
