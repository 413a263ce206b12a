/**
 * The compiled command as a process. One spec: two specs that compile at the same time would start
 * each other's half-written files.
 */
import { beforeAll } from '@jest/globals';
import { describeBackup } from './describe-backup.js';
import { describeUsage } from './describe-usage.js';
import { describeCopy } from './describe-copy.js';
import { build } from '../packaging/build.js';
import { describePostgres } from './describe-postgres.js';
import { describeReading } from './describe-reading.js';
import { describeSalvage } from './describe-salvage.js';

beforeAll(build);

describeUsage();
describeCopy();
describeBackup();
describeSalvage();
describeReading();
describePostgres();
