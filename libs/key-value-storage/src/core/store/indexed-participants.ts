/**
 * Commits of participants beside entries of states with indexes. A conflict at a row that was read
 * for the indexes is repeated with another reading, after the idempotency records have decided.
 */
import { conflictError, type ConflictedBatch, type Contribution } from '../commit/commit.js';
import {
  commitParticipants,
  type CommittedOrReplayed,
  type ParticipantBatch,
} from '../commit/participant.js';
import { IndexedCommit, type IndexedRows } from './indexed-commit.js';

/** `onSend`: called with what is sent beside the participants, the changes of indexes last. */
export async function commitIndexedParticipants(
  batch: ParticipantBatch,
  rows: IndexedRows,
  onSend?: (whole: Contribution) => void,
): Promise<CommittedOrReplayed> {
  const { access, database, own, refusal, signal } = batch;
  const indexed = new IndexedCommit({ access, database, own, signal, ...rows });
  const outcome = await indexed.run<CommittedOrReplayed>(async (whole) => {
    onSend?.(whole);
    let added: ConflictedBatch | undefined;
    const refuse = (conflict: ConflictedBatch): Error => {
      if (indexed.concerns(conflict)) added = conflict;
      return refusal?.(conflict) ?? conflictError(conflict, 'own');
    };
    try {
      return await commitParticipants({ ...batch, own: whole, refusal: refuse });
    } catch (error) {
      if (added === undefined) throw error;
      return added;
    }
  });
  if (outcome.outcome === 'conflict') throw refusal?.(outcome) ?? conflictError(outcome, 'own');
  return outcome;
}
