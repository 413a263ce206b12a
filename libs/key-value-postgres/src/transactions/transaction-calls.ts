/**
 * The calls in the transactions of one query runner. They share its connection, so each ends before
 * the next begins, also between several `within` of it. None is sent in another transaction than
 * the one in which it was made: TypeORM announces the beginning and the end of each before it sends
 * them (`transaction-ends.ts`).
 */
import { invalidOption, throwIfAborted, untilAborted } from '@kvent/key-value-storage/provider';
import type { QueryRunner } from 'typeorm';

interface Call {
  /** In messages. */
  readonly what: string;
  /** Of a call that is aborted after it began; before, it has none. */
  readonly effect: 'none' | 'unknown';
  readonly signal: AbortSignal | undefined;
}

export class TransactionCalls {
  /** What calls are made in: undefined while that changes. */
  #present: object | undefined = {};
  /** What the call that runs was made in. */
  #own: object | undefined;
  /** The last call; never rejects. */
  #last: Promise<unknown> = Promise.resolve();
  #isJoined = false;

  static of(runner: QueryRunner): TransactionCalls {
    const calls = known.get(runner) ?? new TransactionCalls();
    known.set(runner, calls);
    return calls;
  }

  /**
   * Runs the work when the calls before it have ended. `INVALID_OPTION` where the transaction was
   * rolled back before, or a nested one began.
   */
  async run<R>({ what, effect, signal }: Call, work: () => Promise<R>): Promise<R> {
    throwIfAborted(what, signal);
    const own = this.#present;
    if (own === undefined) throw overtaken();
    const { begins, end } = this.#queue();
    let running: Promise<R> | undefined;
    try {
      await untilAborted(what, 'none', signal, begins);
      throwIfAborted(what, signal);
      this.#own = own;
      this.assertPresent();
      this.#isJoined = true;
      running = work();
      return await untilAborted(what, effect, signal, running);
    } finally {
      // the work of a call that is aborted continues
      if (running === undefined) end();
      else running.then(end, end);
    }
  }

  /** To be called immediately before each statement is sent. */
  assertPresent(): void {
    if (this.#own !== this.#present) throw overtaken();
  }

  /** Whether a call was made in the transaction, nested ones included. */
  get isJoined(): boolean {
    return this.#isJoined;
  }

  /**
   * Before a commit: resolves when the calls before it have ended, and those that subscribers of
   * the application make before it.
   */
  async commits(): Promise<void> {
    for (let last: unknown; last !== this.#last;) {
      last = this.#last;
      await last;
    }
  }

  /**
   * Before a transaction begins, a nested one too: resolves when the calls before it have ended.
   */
  async begins(isNested: boolean): Promise<void> {
    const { begins, end } = this.#queue();
    await begins;
    this.#present = undefined;
    if (!isNested) this.#isJoined = false;
    end();
  }

  /** Before a transaction is rolled back: what is sent now would be sent after the rollback. */
  rollsBack(): void {
    this.#present = undefined;
  }

  /** After a transaction has begun or was rolled back. */
  changed(): void {
    this.#present = {};
  }

  #queue(): { readonly begins: Promise<unknown>; readonly end: () => void } {
    const begins = this.#last;
    let end = (): void => undefined;
    const ended = new Promise<void>((resolve) => (end = resolve));
    this.#last = begins.then(async () => await ended);
    return { begins, end };
  }
}

const known = new WeakMap<QueryRunner, TransactionCalls>();

const overtaken = (): Error =>
  invalidOption(
    'The transaction of this call is rolled back, or another one began on its connection, before the call was sent: it has done nothing. Await the calls in a transaction before it ends, and before a nested one begins.',
  );
