/**
 * The compiled shop, as a process of its own. One suite: of two that compile at once, one would
 * start what the other has half written.
 */
import { beforeAll } from '@jest/globals';
import { checkoutCrashes } from './checkout-crash.js';
import { crashes } from './crash.js';
import { build } from './shop-process.js';
import { startUp } from './start-up.js';

beforeAll(build);

startUp();
crashes();
checkoutCrashes();
