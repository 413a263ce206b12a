/**
 * Work that waits for its turn at a database. It is judged when its turn comes, in order, never
 * before: so what is still queued can be taken back without a trace, and nothing rests on what a
 * failed disk took away.
 */
import { aborted } from '../../../core/base/abort.js';
import type { StorageError } from '../../../core/base/errors.js';
import type { RowEffect } from '../../../core/port/evaluate-batch.js';
import { isError, messageOf } from '../../../core/base/kinds.js';
import type { Row, RowAddress } from '../../../core/port/storage-provider.js';

/** What work does to the rows as it finds them, and what it answers once that is on disk. */
interface Judged<A> {
  readonly effects: readonly RowEffect[];
  readonly answer: A;
}
export type Judge<A> = (rowBefore: (address: RowAddress) => Row | undefined, now: number) => Judged<A>;

export interface Work {
  readonly judge: Judge<unknown>;
  /** Ends the wait; later calls do nothing. */
  answer(answer: unknown): void;
  fail(error: unknown): void;
}

export class CommitQueue {
  #waiting: (Work & { begun: boolean })[] = [];

  get size(): number {
    return this.#waiting.length;
  }

  /**
   * Rejects with `ABORTED` at once when the signal says so: with no effect while it waits, with an
   * unknown one once it was taken.
   */
  add<A>(judge: Judge<A>, signal: AbortSignal | undefined): Promise<A> {
    return new Promise<A>((resolve, reject) => {
      if (signal?.aborted === true) return reject(aborted('A commit', 'none', signal));
      const leave = (): void => signal?.removeEventListener('abort', stop);
      const work = {
        judge,
        begun: false,
        answer: (answer: unknown) => {
          leave();
          resolve(answer as A);
        },
        fail: (error: unknown) => {
          leave();
          reject(isError(error) ? error : new Error(messageOf(error)));
        },
      };
      const stop = (): void => {
        if (!work.begun) this.#waiting.splice(this.#waiting.indexOf(work), 1);
        work.fail(aborted('A commit', work.begun ? 'unknown' : 'none', signal as AbortSignal));
      };
      this.#waiting.push(work);
      signal?.addEventListener('abort', stop, { once: true });
    });
  }

  take(): Work | undefined {
    const work = this.#waiting.shift();
    if (work !== undefined) work.begun = true;
    return work;
  }

  failAll(error: StorageError): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const work of waiting) {
      work.begun = true;
      work.fail(error);
    }
  }
}
