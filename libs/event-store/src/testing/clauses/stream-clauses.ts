/** All clauses of the streams, which hold on every storage provider. */
import type { StreamClause } from '../kit/stream-clause.js';
import { appendingClauses } from './appending.js';
import { deletingClauses } from './deleting.js';
import { feedClauses } from './feed.js';
import { idempotencyClauses } from './idempotency.js';
import { lostAnswerClauses } from './lost-answers.js';
import { readingClauses } from './reading.js';
import { sessionClauses } from './sessions.js';
import { snapshotClauses } from './snapshots.js';
import { transactingClauses } from './transacting.js';
import { withinClauses } from './within.js';

export const streamClauses: readonly StreamClause[] = [
  ...appendingClauses,
  ...readingClauses,
  ...transactingClauses,
  ...idempotencyClauses,
  ...sessionClauses,
  ...lostAnswerClauses,
  ...snapshotClauses,
  ...deletingClauses,
  ...withinClauses,
  ...feedClauses,
];
