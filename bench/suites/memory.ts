import { MemoryProvider } from '@kvent/key-value-storage';
import { openKeyv } from '../contenders/keyv.js';
import { openProvider, openStore } from '../contenders/kvent.js';
import { openIndexedStore } from '../contenders/kvent-indexed.js';
import { openKeyedStore } from '../contenders/kvent-keyed.js';
import { openWatchedStore } from '../contenders/kvent-watched.js';
import { openLruCache } from '../contenders/lru-cache.js';
import type { Suite } from '../suite.js';

export const memory: Suite = {
  name: 'memory',
  keys: 1_000,
  ours: ['kvent, memory'],
  openings: [
    (setup) => openStore('kvent, memory', new MemoryProvider(), setup),
    (setup) => openProvider('kvent, bare provider', new MemoryProvider(), setup),
    (setup) => openIndexedStore(new MemoryProvider(), setup),
    (setup) => openWatchedStore(new MemoryProvider(), setup),
    (setup) => openKeyedStore(new MemoryProvider(), setup),
    openKeyv,
    openLruCache,
  ],
  works: [
    { verb: 'get', callers: 1, reference: 'keyv', aim: 8 },
    { verb: 'set', callers: 1, reference: 'keyv' },
    {
      verb: 'set + get',
      callers: 1,
      reference: 'keyv',
      aim: 2,
      note: 'one after the other, counted as one call',
    },
    { verb: 'get', callers: 64, reference: 'keyv' },
    { verb: 'set', callers: 64, reference: 'keyv' },
    {
      verb: 'update',
      callers: 1,
      reference: 'keyv',
      note: 'reads, changes and writes one key; the peers lose concurrent changes',
    },
    { verb: 'getMany', callers: 1, reference: 'keyv', note: '100 keys' },
    { verb: 'page', callers: 1, reference: 'kvent, memory', note: 'the first 100 entries in key order' },
    { verb: 'index page', callers: 1, reference: 'kvent, 1 index', note: '100 entries with one index key' },
    {
      verb: 'watched set',
      callers: 1,
      reference: 'kvent, 1,000 watches',
      note: 'a set, and the item of its watch',
    },
  ],
};
