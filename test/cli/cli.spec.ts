/**
 * The compiled command, as a process of its own. One suite: of two that compile at once, one would
 * start what the other has half written.
 */
import { beforeAll } from '@jest/globals';
import { backups } from './backups.js';
import { calling } from './calling.js';
import { copying } from './copying.js';
import { build } from '../packaging/build.js';
import { postgres } from './postgres.js';
import { salvaging } from './salvaging.js';

beforeAll(build);

calling();
copying();
backups();
salvaging();
postgres();
