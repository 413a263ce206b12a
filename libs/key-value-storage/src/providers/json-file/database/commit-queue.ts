/**
 * Commits that wait for a database. A commit is evaluated when it is dequeued, in order, never
 * before: so a queued one can be aborted without effect, and none depends on rows that a failed
 * disk did not store.
 */
import { aborted } from '../../../core/base/abort.js';
import type { StorageError } from '../../../core/base/errors.js';
import type { RowEffect } from '../../../core/port/evaluate-batch.js';
import { isError, messageOf } from '../../../core/base/kinds.js';
import type { Row, RowAddress } from '../../../core/port/storage-provider.js';

/** The changes of a commit, and what it returns once they are on disk. */
interface Evaluated<A> {
  readonly effects: readonly RowEffect[];
  readonly result: A;
}
export type Evaluate<A> = (rowBefore: (address: RowAddress) => Row | undefined, now: number) => Evaluated<A>;

/** `resolve` and `reject` settle it once; later calls do nothing. */
export interface QueuedCommit {
  readonly evaluate: Evaluate<unknown>;
  resolve(result: unknown): void;
  reject(error: unknown): void;
}

export class CommitQueue {
  #queued: (QueuedCommit & { inFlight: boolean })[] = [];

  get size(): number {
    return this.#queued.length;
  }

  /** Rejects with `ABORTED` when the signal aborts: effect `none` while queued, else `unknown`. */
  enqueue<A>(evaluate: Evaluate<A>, signal: AbortSignal | undefined): Promise<A> {
    return new Promise<A>((resolve, reject) => {
      if (signal?.aborted === true) return reject(aborted('A commit', 'none', signal));
      const stopListening = (): void => signal?.removeEventListener('abort', abort);
      const commit = {
        evaluate,
        inFlight: false,
        resolve: (result: unknown) => {
          stopListening();
          resolve(result as A);
        },
        reject: (error: unknown) => {
          stopListening();
          reject(isError(error) ? error : new Error(messageOf(error)));
        },
      };
      const abort = (): void => {
        if (!commit.inFlight) this.#queued.splice(this.#queued.indexOf(commit), 1);
        commit.reject(aborted('A commit', commit.inFlight ? 'unknown' : 'none', signal as AbortSignal));
      };
      this.#queued.push(commit);
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  dequeue(): QueuedCommit | undefined {
    const commit = this.#queued.shift();
    if (commit !== undefined) commit.inFlight = true;
    return commit;
  }

  rejectAll(error: StorageError): void {
    const queued = this.#queued;
    this.#queued = [];
    for (const commit of queued) {
      commit.inFlight = true;
      commit.reject(error);
    }
  }
}
