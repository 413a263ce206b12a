import { openKeyvPostgres } from '../contenders/keyv.js';
import { openPort, openPortOnDataSource } from '../contenders/kvent-postgres-port.js';
import {
  openShardedCounter,
  openTwoApplications,
  openTypedStore,
} from '../contenders/kvent-postgres-store.js';
import { openIndexedOnPostgres } from '../contenders/kvent-indexed.js';
import { openKeyedOnPostgres } from '../contenders/kvent-keyed.js';
import { openWatchedOnPostgres } from '../contenders/kvent-watched.js';
import { openPgByHand } from '../contenders/pg-by-hand.js';
import { openTypeorm } from '../contenders/typeorm.js';
import type { Suite, Work } from '../suite.js';

const reference = 'pg by hand';

/** One work with 1, 16 and 64 callers, and the aims for them. */
const works = (verb: Work['verb'], aims: readonly (number | undefined)[], note?: string): readonly Work[] =>
  [1, 16, 64].map((callers, index) => {
    const aim = aims[index];
    return {
      verb,
      callers,
      reference,
      ...(aim === undefined ? {} : { aim }),
      ...(note === undefined ? {} : { note }),
    };
  });

/** The aims are for two cores (client and server), full durability and a pool of ten. */
export const postgres: Suite = {
  name: 'postgres',
  keys: 5_000,
  ms: 500,
  ours: ['kvent', 'kvent, at the port'],
  onPostgres: true,
  openings: [
    openPgByHand,
    openTypedStore,
    openIndexedOnPostgres,
    openWatchedOnPostgres,
    openKeyedOnPostgres,
    openPort,
    openPortOnDataSource,
    openTypeorm,
    openKeyvPostgres,
    openTwoApplications,
    openShardedCounter,
  ],
  works: [
    ...works('get', [0.9, 2, 4]),
    ...works('set', [undefined, 1.7, 3]),
    ...works('save', [0.9, 1.8, 3.5], 'at the version that was read'),
    ...works('increment', [undefined, 1.7, 3], 'of distinct counters'),
    { verb: 'getMany', callers: 1, reference, note: '100 keys' },
    { verb: 'getMany', callers: 16, reference, note: '100 keys' },
    { verb: 'index page', callers: 1, reference, note: '100 entries with one index key' },
    { verb: 'index page', callers: 16, reference, note: '100 entries with one index key' },
    {
      verb: 'watched set',
      callers: 1,
      reference: 'kvent, 1,000 watches',
      note: 'a set, and the item of its watch',
    },
    {
      verb: 'hot update',
      callers: 64,
      reference,
      note: 'ten keys: read, change, write; again after a conflict',
    },
    { verb: 'hot increment', callers: 64, reference, note: 'ten counters' },
    ...[1, 4, 16, 64].map((callers): Work => ({
      verb: 'one counter',
      callers,
      reference: 'kvent',
      note: 'all change one counter',
    })),
  ],
};
