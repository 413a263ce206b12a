/**
 * Commits that wait for a database. A commit is evaluated when it is dequeued, in order, never
 * before: so a queued one can be aborted without effect, and none depends on rows that a failed
 * disk did not store.
 */
import { aborted } from '../../../core/base/abort.js';
import type { StorageError } from '../../../core/base/errors.js';
import { onAbort } from '../../../core/base/on-abort.js';
import type { RowEffect } from '../../../core/port/evaluate-batch.js';
import type { Row, RowAddress } from '../../../core/port/storage-provider.js';
import type { GroupPositions } from './store-feed.js';

/** The changes of a commit, and what it returns once they are on disk. */
interface Evaluated<A> {
  readonly effects: readonly RowEffect[];
  readonly result: A;
}
export type Evaluate<A> = (
  rowBefore: (address: RowAddress) => Row | undefined,
  now: number,
  positions: GroupPositions,
) => Evaluated<A>;

/** `resolve` and `reject` settle it once; later calls do nothing. */
export interface QueuedCommit {
  readonly evaluate: Evaluate<unknown>;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

export class CommitQueue {
  #queued: QueuedCommit[] = [];
  /** The index of the first one that was not dequeued. */
  #first = 0;

  get size(): number {
    return this.#queued.length - this.#first;
  }

  /**
   * Rejects with `ABORTED` when the signal aborts: effect `none` while queued, else `unknown`.
   * `resultOf`: the result instead of a rejection.
   */
  enqueue<A>(
    evaluate: Evaluate<A>,
    signal: AbortSignal | undefined,
    resultOf?: (error: unknown) => A,
  ): Promise<A> {
    return new Promise<A>((resolve, reject) => {
      const commit = {
        evaluate,
        resolve: resolve as (result: unknown) => void,
        reject: resultOf === undefined ? reject : (error: unknown) => resolve(resultOf(error)),
      };
      if (signal === undefined) this.#queued.push(commit);
      else this.#enqueueAbortable(commit, signal);
    });
  }

  #enqueueAbortable({ evaluate, resolve, reject }: QueuedCommit, signal: AbortSignal): void {
    if (signal.aborted) return reject(aborted('A commit', 'none', signal));
    const commit: QueuedCommit = {
      evaluate,
      resolve: (result) => {
        leave();
        resolve(result);
      },
      reject: (error) => {
        leave();
        reject(error);
      },
    };
    const leave = onAbort(signal, () => {
      const index = this.#queued.indexOf(commit, this.#first);
      if (index >= 0) this.#queued.splice(index, 1);
      commit.reject(aborted('A commit', index >= 0 ? 'none' : 'unknown', signal));
    });
    this.#queued.push(commit);
  }

  dequeue(): QueuedCommit | undefined {
    const commit = this.#queued[this.#first];
    this.#first += 1;
    if (this.#first >= this.#queued.length) {
      this.#queued = [];
      this.#first = 0;
    }
    return commit;
  }

  rejectAll(error: StorageError): void {
    const queued = this.#queued.slice(this.#first);
    this.#queued = [];
    this.#first = 0;
    for (const commit of queued) commit.reject(error);
  }
}
