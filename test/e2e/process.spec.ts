/** The compiled shop, as a process of its own. */
import { beforeAll } from '@jest/globals';
import { checkoutCrashes } from './checkout-crash.js';
import { crashes } from './crash.js';
import { build } from '../packaging/build.js';
import { startUp } from './start-up.js';

beforeAll(build);

startUp();
crashes();
checkoutCrashes();
