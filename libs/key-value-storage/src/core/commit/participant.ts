/**
 * Commits that are made of parts: what another package (an append to a stream) or an idempotency
 * record adds to one batch. After a conflict, one read fetches the rows of all participants, and
 * each says how it stands: proceed, retry, reject or replayed. The batch stays one: all of it or
 * nothing.
 */
import { throwIfAborted, untilAborted } from '../base/abort.js';
import { systemClock } from '../base/clock.js';
import { HeldLocks, type OnConflict } from '../contention/held-locks.js';
import { retrying } from '../contention/retry-on-conflict.js';
import { lockNameOf, rowNameOf } from '../port/row-name.js';
import type { Address, Row } from '../port/storage-provider.js';
import {
  conflictError,
  isWithinBatchLimits,
  type CommittedBatch,
  type ConflictedBatch,
  type Contribution,
  type OptionalChange,
} from './commit.js';
import type { RefusalError, StorageAccess } from './storage-access.js';

/** What another package adds to one commit: `storage.atomic().include(participant)`. */
export interface CommitParticipant {
  readonly '~part': true;
}

/** The commit was made before; `row` is the record that says so. */
export interface ReplayedBatch {
  readonly outcome: 'replayed';
  readonly row: Row;
}

export type CommittedOrReplayed = CommittedBatch | ReplayedBatch;

/** How a participant stands, by its rows as they are now. */
export type Verdict =
  /** Its contribution holds. */
  | { readonly outcome: 'proceed' }
  /**
   * It has another contribution now. `error`, a conflict, is thrown once the attempts are spent.
   */
  | { readonly outcome: 'retry'; readonly error: Error }
  | { readonly outcome: 'reject'; readonly error: Error }
  | ReplayedBatch;

/** The rows that a participant reads, and the provider's time. */
export interface ObservedRows {
  readonly rows: readonly (Row | undefined)[];
  readonly time: number;
  /** The conflict, where the check that failed was the participant's own. */
  readonly conflict: ConflictedBatch | undefined;
}

/** A participant of one commit. */
export abstract class Participant implements CommitParticipant {
  readonly '~part' = true;
  /** Where its rows are: those of the whole batch must be there. */
  abstract readonly access: StorageAccess;
  abstract readonly database: string;
  /** In messages: "stream 'order'". */
  abstract readonly what: string;
  /** Two participants of one batch must not have the same subject. */
  abstract readonly subject: string;
  /** The rows that `evaluate` decides by. */
  abstract readonly reads: readonly Address[];

  /** Waits for what must be known before anything is sent: values that are being validated. */
  abstract prepare(): Promise<void> | undefined;
  /** What it adds to the batch; `undefined` before `evaluate`, where that decides it. */
  abstract contribution(): Contribution | undefined;
  /** What it adds beside its contribution where there is room; made each time this is sent. */
  optionalChange(): OptionalChange | undefined {
    return undefined;
  }
  abstract evaluate(observed: ObservedRows): Verdict;
  /** The caller's arguments: what a repeat with the same idempotency key is compared by. */
  abstract content(): unknown;
  /**
   * Whether its check is by what the caller has read. A repeat of the caller's work reads again,
   * and has other arguments then.
   */
  readonly restsOnReading: boolean = false;
  /** Whether it is an idempotency record: it decides before anything else after a conflict. */
  readonly isRecord: boolean = false;
  /** Called when its contribution is sent. What it returns is called once the result is known. */
  sending(): (() => void) | undefined {
    return undefined;
  }
  committed(_batch: CommittedBatch): void {
    // most participants have nothing left to do
  }
  /** Called with the error of a commit that was sent. */
  failed(_error: unknown): void {
    // most participants do not outlive it
  }
}

export interface ParticipantBatch {
  readonly access: StorageAccess;
  readonly database: string;
  /** What the batch holds beside its participants. */
  readonly own: Contribution;
  /**
   * The error of a failed check of `own`. @default a conflict, which is retried together with the
   * reading
   */
  readonly refusal?: ((conflict: ConflictedBatch) => Error) | undefined;
  /** The error of an impossible numeric change of `own`. */
  readonly refused?: RefusalError | undefined;
  /** In the order in which they decide: idempotency records first. */
  readonly participants: readonly Participant[];
  /** Whether a conflict is retried here, not by a loop around this. @default true */
  readonly retries?: boolean;
  /** For a retry loop around this. */
  readonly onConflict?: OnConflict | undefined;
  readonly signal: AbortSignal | undefined;
}

type Outcome = CommittedBatch | Exclude<Verdict, { outcome: 'proceed' }>;
type Final = Exclude<Outcome, { outcome: 'retry' }>;

/** In a transaction only the participants' own retries are made, once they have seen their rows. */
const attemptsInTransaction = 3;

/**
 * Commits the participants and what is beside them. Returns that the batch was committed, now or
 * before; throws every other result.
 */
export async function commitParticipants(batch: ParticipantBatch): Promise<CommittedOrReplayed> {
  for (const participant of batch.participants) {
    const prepared = participant.prepare();
    if (prepared !== undefined) await untilAborted('A commit', 'none', batch.signal, prepared);
  }
  throwIfAborted('A commit', batch.signal);
  const commit = new ParticipantCommit(batch);
  const first = await commit.attempt();
  const outcome = first.outcome === 'retry' ? await commit.retry(first.error) : first;
  if (outcome.outcome === 'reject') throw outcome.error;
  return outcome;
}

class ParticipantCommit {
  readonly #batch: ParticipantBatch;
  /** Whether the rows are read before the batch is sent. */
  #readsFirst: boolean;
  /** The lock of the row at which the batch conflicted last. */
  #contended: string | undefined;

  constructor(batch: ParticipantBatch) {
    this.#batch = batch;
    // a record always has its contribution, and makes it anew each time
    this.#readsFirst = batch.participants.some((each) => !each.isRecord && each.contribution() === undefined);
  }

  async attempt(): Promise<Outcome> {
    const { access, database, own, participants, refused, onConflict, signal } = this.#batch;
    if (this.#readsFirst) {
      const verdict = await this.#evaluate(participants, undefined);
      if (verdict.outcome === 'reject' || verdict.outcome === 'replayed') return verdict;
      this.#readsFirst = false;
    }
    const required = this.#content();
    const optional: OptionalChange[] = [];
    for (const participant of participants) {
      const change = participant.optionalChange();
      if (change !== undefined) optional.push(change);
    }
    const whole = optional.length === 0 ? required : this.#withOptional(required, optional);
    const hasRoom = whole === required || isWithinBatchLimits({ database, ...whole });
    const ends = participants.map((each) => each.sending());
    let result: CommittedBatch | ConflictedBatch;
    try {
      result = await access.commit(database, hasRoom ? whole : required, { signal, refused });
      if (result.outcome === 'committed') {
        for (const participant of participants) participant.committed(result);
        for (const { committed } of optional) committed(hasRoom);
        return result;
      }
    } catch (error) {
      for (const participant of participants) participant.failed(error);
      throw error;
    } finally {
      for (const end of ends) end?.();
    }
    this.#contended = lockNameOf(database, result.address);
    onConflict?.(this.#contended);
    // the participants' checks come first: all of them were met
    if (hasCheck(own, result)) return await this.#refuse(result);
    const verdict = await this.#evaluate(participants, result);
    return verdict.outcome === 'proceed'
      ? { outcome: 'retry', error: conflictError(result, 'own') }
      : verdict;
  }

  /**
   * Repeats a commit whose first attempt failed. A transaction waits for no lock: its holder may
   * wait for the transaction.
   */
  async retry(failed: Error): Promise<Final> {
    const { access, retries = true, signal } = this.#batch;
    const { inTransaction } = access;
    if (!retries && !inTransaction) throw failed;
    const policy = { ...access.retry, ...(inTransaction && { attempts: attemptsInTransaction }), signal };
    const work = async (): Promise<Final> => {
      const outcome = await this.attempt();
      if (outcome.outcome === 'retry') throw outcome.error;
      return outcome;
    };
    if (inTransaction) return await retrying(work, policy, { clock: systemClock, failed });
    const held = new HeldLocks(access.locks, policy);
    const wait = async (ms: number): Promise<void> => {
      if (this.#contended !== undefined) held.onConflict(this.#contended);
      // the holder of the lock has changed the rows
      this.#readsFirst = await held.wait(ms);
    };
    try {
      return await retrying(work, policy, { clock: systemClock, failed, wait });
    } finally {
      held.releaseAll();
    }
  }

  #content(): Contribution {
    const { own, participants } = this.#batch;
    let whole: Contribution | undefined;
    for (const participant of participants) {
      const each = participant.contribution() as Contribution;
      whole = whole === undefined ? each : joined(whole, each);
    }
    if (whole === undefined) return own;
    return own.checks.length + own.changes.length === 0 ? whole : joined(whole, own);
  }

  /** Those of `own` stay the last ones: the caller finds their results there. */
  #withOptional({ checks, changes }: Contribution, optional: readonly OptionalChange[]): Contribution {
    const at = changes.length - this.#batch.own.changes.length;
    return { checks, changes: changes.toSpliced(at, 0, ...optional.map(({ change }) => change)) };
  }

  /**
   * A check beside the participants has failed. The same call may have been committed before, from
   * another process too: an engine may judge an absent record by its snapshot, and the row after it
   * has waited for it. So a record decides first, and the failed check only where there is none.
   */
  async #refuse(conflict: ConflictedBatch): Promise<Final> {
    const { participants, refusal } = this.#batch;
    const records = participants.filter(({ isRecord }) => isRecord);
    if (records.length > 0) {
      const verdict = await this.#evaluate(records, undefined);
      if (verdict.outcome === 'replayed' || verdict.outcome === 'reject') return verdict;
    }
    return { outcome: 'reject', error: refusal?.(conflict) ?? conflictError(conflict, 'own') };
  }

  /** One read for all. The first that rejects or was replayed decides, else the first to retry. */
  async #evaluate(
    participants: readonly Participant[],
    conflict: ConflictedBatch | undefined,
  ): Promise<Verdict> {
    const { access, signal } = this.#batch;
    const addresses = participants.flatMap(({ reads }) => reads);
    const { rows, time } = await access.read(addresses, { signal });
    let next = 0;
    const verdicts = participants.map((each) => {
      const from = next;
      next += each.reads.length;
      const own = conflict !== undefined && hasCheck(each.contribution(), conflict) ? conflict : undefined;
      return each.evaluate({ rows: rows.slice(from, next), time, conflict: own });
    });
    return (
      verdicts.find(({ outcome }) => outcome === 'reject' || outcome === 'replayed') ??
      verdicts.find(({ outcome }) => outcome === 'retry') ?? { outcome: 'proceed' }
    );
  }
}

/** Not pushed: an array that grows takes room for 17 items, and these have two or three. */
const joined = (one: Contribution, other: Contribution): Contribution => ({
  checks: [...one.checks, ...other.checks],
  changes: [...one.changes, ...other.changes],
});

/** Whether a contribution has the check that failed. */
function hasCheck(contribution: Contribution | undefined, { address }: ConflictedBatch): boolean {
  const name = rowNameOf(address);
  return contribution?.checks.some((check) => rowNameOf(check.address) === name) === true;
}
