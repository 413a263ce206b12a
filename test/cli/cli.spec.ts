/** The compiled command, as a process of its own. One suite: of two that compile at once, one would start what the other has half written. */
import { beforeAll, jest } from '@jest/globals';
import { backups } from './backups.js';
import { calling } from './calling.js';
import { copying } from './copying.js';
import { build } from './kvent.js';
import { postgres } from './postgres.js';
import { salvaging } from './salvaging.js';

jest.setTimeout(120_000);
beforeAll(build, 180_000);

calling();
copying();
backups();
salvaging();
postgres();
