/** The contract, in the order of its laws. */
import type { Clause } from '../kit/clause.js';
import { atomicClauses } from './port/atomic.js';
import { batchAnswerClauses } from './port/batch-answers.js';
import { cancellationClauses } from './port/cancellation.js';
import { checkClauses } from './port/checks.js';
import { damageClauses } from './port/damage.js';
import { durableClauses } from './port/durable.js';
import { etagClauses } from './port/etags.js';
import { expiryClauses } from './port/expiry.js';
import { clearedExpiryClauses } from './port/expiry-cleared.js';
import { keptExpiryClauses } from './port/expiry-kept.js';
import { feedClauses } from './port/feed.js';
import { hintClauses } from './port/hints.js';
import { isolationClauses } from './port/isolation.js';
import { keyClauses } from './port/keys.js';
import { lifecycleClauses } from './port/lifecycle.js';
import { limitClauses } from './port/limits.js';
import { listClauses } from './port/lists.js';
import { noLostUpdateClauses } from './port/no-lost-update.js';
import { numberClauses } from './port/numbers.js';
import { pagingClauses } from './port/paging.js';
import { oneTruthClauses } from './port/one-truth.js';
import { rawRowClauses } from './port/raw-rows.js';
import { timeClauses } from './port/time.js';
import { valueClauses } from './port/values.js';
import { withinClauses } from './port/within.js';

export const clauses: readonly Clause[] = [
  ...atomicClauses,
  ...batchAnswerClauses,
  ...durableClauses,
  ...noLostUpdateClauses,
  ...oneTruthClauses,
  ...numberClauses,
  ...etagClauses,
  ...checkClauses,
  ...withinClauses,
  ...valueClauses,
  ...expiryClauses,
  ...keptExpiryClauses,
  ...clearedExpiryClauses,
  ...timeClauses,
  ...keyClauses,
  ...listClauses,
  ...pagingClauses,
  ...hintClauses,
  ...isolationClauses,
  ...lifecycleClauses,
  ...cancellationClauses,
  ...limitClauses,
  ...damageClauses,
  ...rawRowClauses,
  ...feedClauses,
].sort((a, b) => a.law - b.law);
