/** What stores promise on every provider, in the order of the laws. */
import type { StoreClause } from '../kit/store-clause.js';
import { storeAtomicClauses } from './stores/atomic.js';
import { boundaryClauses } from './stores/boundaries.js';
import { storeExpiryClauses } from './stores/expiry.js';
import { idempotencyClauses } from './stores/idempotency.js';
import { indexClauses } from './stores/indexes.js';
import { readingClauses } from './stores/reading.js';
import { counterClauses } from './stores/counters.js';
import { shardedCounterClauses } from './stores/sharded-counters.js';
import { bulkClauses } from './stores/bulk.js';
import { changingClauses } from './stores/changing.js';
import { migrationClauses } from './stores/migrating.js';
import { storeKeyClauses } from './stores/keys.js';
import { storePagingClauses } from './stores/paging.js';
import { valueClauses } from './stores/values.js';
import { watchingClauses } from './stores/watching.js';
import { writingClauses } from './stores/writing.js';

export const storeClauses: readonly StoreClause[] = [
  ...writingClauses,
  ...changingClauses,
  ...readingClauses,
  ...storePagingClauses,
  ...valueClauses,
  ...storeKeyClauses,
  ...storeExpiryClauses,
  ...storeAtomicClauses,
  ...watchingClauses,
  ...counterClauses,
  ...shardedCounterClauses,
  ...idempotencyClauses,
  ...boundaryClauses,
  ...indexClauses,
  ...migrationClauses,
  ...bulkClauses,
].sort((a, b) => a.law - b.law);
