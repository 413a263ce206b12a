/** The compiled shop, as a process of its own. One suite: of two that compile at once, one would start what the other has half written. */
import { beforeAll, jest } from '@jest/globals';
import { checkoutCrashes } from './checkout-crash.js';
import { crashes } from './crash.js';
import { build } from './shop-process.js';
import { startUp } from './start-up.js';

// A test starts the shop up to four times, and waits for a lock.
jest.setTimeout(60_000);
beforeAll(build, 180_000);

startUp();
crashes();
checkoutCrashes();
