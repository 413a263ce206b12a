/** The contract, in the order of its laws. */
import type { Clause } from '../clause.js';
import { atomicClauses } from './atomic.js';
import { cancellationClauses } from './cancellation.js';
import { damageClauses } from './damage.js';
import { durableClauses } from './durable.js';
import { etagClauses } from './etags.js';
import { expiryClauses } from './expiry.js';
import { hintClauses } from './hints.js';
import { isolationClauses } from './isolation.js';
import { keyClauses } from './keys.js';
import { lifecycleClauses } from './lifecycle.js';
import { limitClauses } from './limits.js';
import { listClauses } from './lists.js';
import { noLostUpdateClauses } from './no-lost-update.js';
import { numberClauses } from './numbers.js';
import { timeClauses } from './time.js';
import { valueClauses } from './values.js';

export const clauses: readonly Clause[] = [
  ...atomicClauses,
  ...durableClauses,
  ...noLostUpdateClauses,
  ...numberClauses,
  ...etagClauses,
  ...valueClauses,
  ...expiryClauses,
  ...timeClauses,
  ...keyClauses,
  ...listClauses,
  ...hintClauses,
  ...isolationClauses,
  ...lifecycleClauses,
  ...cancellationClauses,
  ...limitClauses,
  ...damageClauses,
].sort((a, b) => a.law - b.law);
