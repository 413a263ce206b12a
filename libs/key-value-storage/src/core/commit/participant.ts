/**
 * Batches that are made of parts: what another package (an append to a stream), or an idempotency
 * mark, adds to one commit. A conflict of such a batch is judged by its parts: all of them are
 * asked, in one read, and each answers that it is fine, that it is over, that it was done already,
 * or that it would go otherwise now; then the commit goes again. The batch stays one: all of it or
 * nothing.
 */
import { systemClock } from '../base/clock.js';
import {
  commitBatch,
  conflictError,
  rowNameOf,
  type ConflictedBatch,
  type StorageAccess,
  type CommittedBatch,
} from './commit.js';
import { lost, HeldLocks, lockNameOf } from '../contention/held-locks.js';
import { retrying, type RetryPolicy } from '../contention/retry-on-conflict.js';
import type { Address, Change, Check, Row } from '../port/storage-provider.js';

/** Something that another package adds to one commit: `storage.atomic().include(part)`. */
export interface CommitParticipant {
  readonly '~part': true;
}

/** What a part, or the batch itself, brings to the commit. */
export interface Contribution {
  readonly checks: readonly Check[];
  readonly changes: readonly Change[];
}

/** How a part stands, by the rows as they are now. */
export type Verdict =
  /** Nothing stands against it. */
  | { readonly verdict: 'fine' }
  /**
   * It has another contribution now; `otherwise` is thrown when the attempts are spent, and says
   * that this was a conflict.
   */
  | { readonly verdict: 'again'; readonly otherwise: Error }
  | { readonly verdict: 'over'; readonly error: Error }
  /** It was done before; `row` tells of it. */
  | { readonly verdict: 'replayed'; readonly row: Row };

/**
 * What a part is shown after a conflict: the rows it asked for, the provider's time, and the failed
 * check where it was its own.
 */
export interface ObservedRows {
  readonly rows: readonly (Row | undefined)[];
  readonly time: number;
  readonly conflict: ConflictedBatch | undefined;
}

/** A part at work. It belongs to one commit, and is told once that it has landed. */
export abstract class Participant implements CommitParticipant {
  readonly '~part' = true;
  /** Where its rows are: the whole batch must be there. */
  abstract readonly access: StorageAccess;
  abstract readonly database: string;
  /** In messages: "stream 'order'". */
  abstract readonly what: string;
  /** What no other part of the batch may be about. */
  abstract readonly subject: string;
  /** The rows it judges by. */
  abstract readonly reads: readonly Address[];

  /** Waits for what has to be known before anything is sent: values that are being checked. */
  abstract prepare(): Promise<void>;
  /** What it adds as things stand; `undefined` before it has seen its rows. */
  abstract contribution(): Contribution | undefined;
  abstract evaluate(seen: ObservedRows): Verdict;
  /** The caller's arguments: what a repeat with the same idempotency key is compared by. */
  abstract content(): unknown;
  /**
   * Whether its check is what the caller has read. A repeat of the caller's work reads again, so it
   * has other arguments.
   */
  readonly restsOnReading: boolean = false;
  /**
   * Whether it is the record of an idempotency key: it is looked at on every conflict, before
   * anything else is said of it.
   */
  readonly isRecord: boolean = false;
  committed(_landed: CommittedBatch): void {
    // most parts have nothing left to do
  }
}

export interface ParticipantBatch {
  readonly access: StorageAccess;
  readonly database: string;
  /** What stands in the batch beside the parts. */
  readonly own: Contribution;
  /**
   * What a failed check of `own` means to the caller. @default a conflict, which is retried
   * together with the reading
   */
  readonly refusal?: ((conflict: ConflictedBatch) => Error) | undefined;
  /** In the order in which they are judged: marks first. */
  readonly participants: readonly Participant[];
  readonly signal: AbortSignal | undefined;
}

export type Replayed = Extract<Verdict, { verdict: 'replayed' }>;
type Over = Extract<Verdict, { verdict: 'over' }>;

/**
 * Nothing is repeated inside a caller's transaction, but what a part says otherwise once it has
 * looked.
 */
const attemptsInTransaction = 3;

/**
 * Commits the parts and what stands beside them. Answers that it landed, or that a part was done
 * before; throws what else became of it.
 */
export async function commitParticipants(batch: ParticipantBatch): Promise<CommittedBatch | Replayed> {
  const { access, participants, signal } = batch;
  await Promise.all(participants.map(async (part) => await part.prepare()));
  let lookFirst = participants.some((part) => part.contribution() === undefined);
  const policy = {
    ...access.retry,
    attempts: access.inTransaction ? attemptsInTransaction : access.retry.attempts,
    signal,
  };
  const own = new HeldLocks(access.locks, policy);
  const attempt = async (): Promise<CommittedBatch | Replayed | Over> => {
    if (lookFirst) {
      const verdict = await ask(batch, undefined);
      if (verdict.verdict === 'over' || verdict.verdict === 'replayed') return verdict;
      lookFirst = false;
    }
    const result = await send(batch);
    if (result.outcome === 'committed') return result;
    const turn = lockNameOf(batch.database, result.address);
    // the parts' checks stand in front: all of them were met
    if (batch.own.checks.some(({ address }) => rowNameOf(address) === rowNameOf(result.address)))
      return await refused(batch, result, turn);
    const verdict = await ask(batch, result);
    if (verdict.verdict === 'replayed') return verdict;
    if (verdict.verdict === 'over') return { ...verdict, error: lost(verdict.error, turn) };
    throw lost(verdict.verdict === 'again' ? verdict.otherwise : conflictError(result, 'own'), turn);
  };
  const waitForTurn = async (ms: number): Promise<void> => {
    // who stood in line has seen what the others made of it meanwhile
    lookFirst = await own.wait(ms);
  };
  const outcome = await repeated(access, attempt, policy, own, waitForTurn);
  if ('verdict' in outcome && outcome.verdict === 'over') throw outcome.error;
  return outcome;
}

/**
 * A check of the batch's own has failed. The same call may have landed before, from another process
 * too: an engine may judge an absent record by its snapshot, and the row after it has waited for
 * it. So the record decides first, and the failed check only where there is none.
 */
async function refused(
  batch: ParticipantBatch,
  conflict: ConflictedBatch,
  turn: string,
): Promise<Replayed | Over> {
  const records = batch.participants.filter(({ isRecord }) => isRecord);
  const verdict: Verdict =
    records.length === 0 ? { verdict: 'fine' } : await ask({ ...batch, participants: records }, undefined);
  if (verdict.verdict === 'replayed' || verdict.verdict === 'over') return verdict;
  const error = batch.refusal?.(conflict) ?? conflictError(conflict, 'own');
  return { verdict: 'over', error: lost(error, turn) };
}

/**
 * In a transaction of the caller's nobody waits in line: whoever is in front may wait for this very
 * transaction.
 */
async function repeated<R>(
  { inTransaction }: StorageAccess,
  attempt: () => Promise<R>,
  policy: RetryPolicy,
  own: HeldLocks,
  waitForTurn: (ms: number) => Promise<void>,
): Promise<R> {
  if (inTransaction) return await retrying(attempt, policy, { clock: systemClock });
  try {
    return await retrying(async () => await own.noting(attempt), policy, { clock: systemClock, waitForTurn });
  } finally {
    own.leave();
  }
}

async function send({
  access,
  database,
  own,
  participants,
  signal,
}: ParticipantBatch): Promise<CommittedBatch | ConflictedBatch> {
  const contributions = [...participants.map((part) => part.contribution() as Contribution), own];
  const checks = contributions.flatMap((each) => each.checks);
  const changes = contributions.flatMap((each) => each.changes);
  const result = await commitBatch(access, database, checks, changes, signal);
  if (result.outcome === 'committed') for (const part of participants) part.committed(result);
  return result;
}

/**
 * One read for all parts. The first that is over, or was done before, decides; else one that goes
 * otherwise now.
 */
async function ask(
  { access, participants, signal }: ParticipantBatch,
  conflict: ConflictedBatch | undefined,
): Promise<Verdict> {
  const addresses = participants.flatMap((part) => part.reads);
  access.assertOpen();
  const { rows, time } = await access.provider.read(addresses, { signal });
  let next = 0;
  const verdicts = participants.map((part) => {
    const from = next;
    next += part.reads.length;
    return part.evaluate({ rows: rows.slice(from, next), time, conflict: conflictOf(part, conflict) });
  });
  const decided = verdicts.find(({ verdict }) => verdict === 'over' || verdict === 'replayed');
  return decided ?? verdicts.find(({ verdict }) => verdict === 'again') ?? { verdict: 'fine' };
}

function conflictOf(part: Participant, conflict: ConflictedBatch | undefined): ConflictedBatch | undefined {
  if (conflict === undefined) return undefined;
  const name = rowNameOf(conflict.address);
  return part.contribution()?.checks.some(({ address }) => rowNameOf(address) === name) === true
    ? conflict
    : undefined;
}
