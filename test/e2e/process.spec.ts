/** The compiled shop as a process. */
import { beforeAll } from '@jest/globals';
import { describeCheckoutCrashes } from './describe-checkout-crashes.js';
import { describeCrashes } from './describe-crashes.js';
import { build } from '../packaging/build.js';
import { describeStartUp } from './describe-start-up.js';

beforeAll(build);

describeStartUp();
describeCrashes();
describeCheckoutCrashes();
