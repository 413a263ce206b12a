/**
 * One watch that is being read (law 9). A hint, a poll, or the time of an expiry only marks it;
 * then the rows are read again, and what differs from the item before is the next item. Reads of
 * one watch never overlap, so no item is older than the one before it, although versions have no
 * order. A reader that has stopped reading costs a mark: changes are merged until it reads again.
 */
import { throwIfAborted, untilAborted } from '../base/abort.js';
import { timerMsMax, type Clock } from '../base/clock.js';
import { isStorageError } from '../base/errors.js';
import { onAbort } from '../base/on-abort.js';
import type { Address, Hint, HintTarget, ReadResult } from '../port/storage-provider.js';

/** What a watcher needs of the watches of its provider. */
export interface WatchRoom {
  readonly clock: Clock;
  /** `STORAGE_NOT_OPEN` once the storage is closed or shuts down. */
  start(watcher: StartedWatcher): void;
  stop(watcher: StartedWatcher): void;
  read(addresses: readonly Address[]): Promise<ReadResult>;
}

export interface WatcherOptions {
  readonly signal?: AbortSignal | undefined;
  readonly recover?: boolean | undefined;
}

/** The part of a watcher that does not depend on its items. */
export interface StartedWatcher {
  readonly targets: readonly HintTarget[];
  /** Aborts when the watch ends. */
  readonly ended: AbortSignal;
  /** A hint; `undefined`: anything may have changed. */
  observe(hint: Hint | undefined): void;
  fail(error: unknown): void;
  end(): void;
}

/** Milliseconds between two attempts to reach the engine again. */
const recoverMs = { first: 200, most: 1_000 };

export abstract class Watcher<Item> implements StartedWatcher {
  abstract readonly targets: readonly HintTarget[];
  protected readonly room: WatchRoom;
  readonly #signal: AbortSignal | undefined;
  readonly #recovers: boolean;
  readonly #ending = new AbortController();
  #isMarked = true;
  #wake: (() => void) | undefined;
  #leaveSignal: (() => void) | undefined;
  #failure: { readonly error: unknown } | undefined;
  #alarm: AbortController | undefined;

  constructor(room: WatchRoom, { signal, recover = false }: WatcherOptions) {
    this.room = room;
    this.#signal = signal;
    this.#recovers = recover;
  }

  /** Reads what has changed since the item before. */
  protected abstract changes(): AsyncGenerator<Item, void, undefined>;
  abstract observe(hint: Hint | undefined): void;

  get ended(): AbortSignal {
    return this.#ending.signal;
  }

  /** Whether it will read again anyway, so that a poll has nothing to add. */
  get isMarked(): boolean {
    return this.#isMarked;
  }

  /** Not the generator itself: its `return` would wait for a change. */
  iterator(): AsyncIterator<Item, undefined, undefined> {
    const items = this.#items();
    const end = async (): Promise<IteratorReturnResult<undefined>> => {
      this.end();
      await items.return();
      return { done: true, value: undefined };
    };
    return {
      next: async () => {
        const item = await items.next();
        return item.done === true ? { done: true, value: undefined } : item;
      },
      return: end,
    };
  }

  mark(): void {
    this.#isMarked = true;
    this.#wake?.();
  }

  fail(error: unknown): void {
    if (this.#survives(error)) return;
    this.#failure = { error };
    this.mark();
  }

  readonly end = (): void => {
    if (this.ended.aborted) return;
    this.#ending.abort();
    this.#leaveSignal?.();
    this.#alarm?.abort();
    this.room.stop(this);
    this.#wake?.();
  };

  protected untilEnded<R>(work: Promise<R>): Promise<R> {
    return untilAborted('A watch', 'none', this.ended, work);
  }

  /**
   * Calls `due` some milliseconds after a moment of the monotonic clock, in place of an earlier
   * alarm. For an expiry that is the moment before the read: the time of the provider comes later,
   * so the alarm may be early, and then the rows are read once more, but it is never late.
   */
  protected setAlarm(from: number, ms: number | undefined, due: () => void): void {
    this.#alarm?.abort();
    this.#alarm = undefined;
    if (ms === undefined || this.ended.aborted) return;
    const { clock } = this.room;
    const leftMs = from + ms - clock.monotonic();
    if (leftMs <= 0) return due();
    const alarm = new AbortController();
    this.#alarm = alarm;
    clock.wait(Math.min(leftMs, timerMsMax), alarm.signal).then(due, () => undefined);
  }

  async *#items(): AsyncGenerator<Item, void, undefined> {
    throwIfAborted('A watch', this.#signal);
    this.room.start(this);
    if (this.#signal !== undefined) this.#leaveSignal = onAbort(this.#signal, this.end);
    let delayMs = recoverMs.first;
    try {
      while (await this.#marked())
        try {
          if (this.#failure !== undefined) throw this.#failure.error;
          this.#isMarked = false;
          yield* this.changes();
          delayMs = recoverMs.first;
        } catch (error) {
          if (!this.#survives(error)) throw error;
          this.#isMarked = true;
          await this.room.clock.wait(delayMs, this.ended);
          delayMs = Math.min(delayMs * 2, recoverMs.most);
        }
    } catch (error) {
      if (!this.ended.aborted) throw error;
    } finally {
      this.end();
    }
  }

  /** Waits for a mark; false once the watch has ended. */
  async #marked(): Promise<boolean> {
    if (!this.#isMarked && !this.ended.aborted) await new Promise<void>((resolve) => (this.#wake = resolve));
    return !this.ended.aborted;
  }

  #survives(error: unknown): boolean {
    return this.#recovers && !this.ended.aborted && isStorageError(error, 'STORAGE_UNAVAILABLE');
  }
}
