/** The contract, in the order of its laws. */
import type { Clause } from '../clause.js';
import { atomicClauses } from './atomic.js';
import { batchAnswerClauses } from './batch-answers.js';
import { cancellationClauses } from './cancellation.js';
import { checkClauses } from './checks.js';
import { damageClauses } from './damage.js';
import { durableClauses } from './durable.js';
import { etagClauses } from './etags.js';
import { expiryClauses } from './expiry.js';
import { clearedExpiryClauses } from './expiry-cleared.js';
import { keptExpiryClauses } from './expiry-kept.js';
import { hintClauses } from './hints.js';
import { isolationClauses } from './isolation.js';
import { keyClauses } from './keys.js';
import { lifecycleClauses } from './lifecycle.js';
import { limitClauses } from './limits.js';
import { listClauses } from './lists.js';
import { noLostUpdateClauses } from './no-lost-update.js';
import { numberClauses } from './numbers.js';
import { pagingClauses } from './paging.js';
import { oneTruthClauses } from './one-truth.js';
import { rawRowClauses } from './raw-rows.js';
import { timeClauses } from './time.js';
import { valueClauses } from './values.js';
import { withinClauses } from './within.js';

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
].sort((a, b) => a.law - b.law);
