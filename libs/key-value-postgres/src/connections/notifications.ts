/**
 * Wake-ups between processes by NOTIFY and LISTEN, where `notify` is set. They are no truth: one
 * that is lost costs the time until the next poll. A notification is a statement of its own after
 * the commit, at most one in flight: within the commit it would make all commits of the server wait
 * for one lock.
 *
 * Every role that may connect to the database can listen to a channel and notify it, without a
 * grant. So a notification says only that something was committed, and by which process. It names
 * no row, and one that is forged has no more effect than another: the watches look whether their
 * rows have changed, at most once in `wakeEveryMs`.
 */
import { randomUUID } from 'node:crypto';
import { backgroundClock } from '@kvent/key-value-storage/internal';
import type { HintSource } from '@kvent/key-value-storage/provider';
import type { Connections } from './connections.js';

/** A connection that is cut without a word is found by a statement. */
const checkEveryMs = 10_000;
const reconnectMs = 1_000;
/** As the fastest poll: a flood of notifications costs no more reads than that. */
const wakeEveryMs = 200;

export class Notifications {
  readonly #connections: Connections;
  readonly #hints: HintSource;
  readonly #channel: string;
  /** JSON, because processes of older versions parse it. */
  readonly #payload = JSON.stringify({ from: randomUUID() });
  readonly #closing = new AbortController();
  /** Whether there were commits since the last notification was sent. */
  #hasCommitted = false;
  #isSending = false;
  /** Whether there were notifications since the watches were woken. */
  #wasNotified = false;
  #isWaking = false;
  #listening: Promise<void> | undefined;

  constructor(connections: Connections, hints: HintSource, table: string) {
    this.#connections = connections;
    this.#hints = hints;
    // the name of a channel has at most 63 bytes
    this.#channel = `kvent ${table}`.replace(/[^\x20-\x7e]/g, '_').slice(0, 63);
  }

  /** Begins to listen, with the first watch. */
  listen(): void {
    this.#listening ??= this.#listen();
  }

  /** Notifies other processes that rows were committed here. */
  publish(): void {
    this.#hasCommitted = true;
    if (!this.#isSending) void this.#send();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#listening;
  }

  async #send(): Promise<void> {
    this.#isSending = true;
    // a failure is a lost wake-up
    while (this.#hasCommitted && !this.#closing.signal.aborted) {
      this.#hasCommitted = false;
      await this.#connections
        .with((connection) =>
          connection.query('select pg_catalog.pg_notify($1, $2)', [this.#channel, this.#payload]),
        )
        .catch(() => undefined);
    }
    this.#isSending = false;
  }

  /** Listens until it is closed, on another connection after each that is lost. */
  async #listen(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await this.#connections
        .listen(this.#channel, { received: this.#received, checkEveryMs, signal })
        .catch(() => undefined);
      // what was committed in between was not received
      this.#hints.changedAll();
      await backgroundClock.wait(reconnectMs, signal).catch(() => undefined);
    }
  }

  /** The payload is any text, of anybody. */
  readonly #received = (payload: string): void => {
    if (payload === this.#payload) return;
    this.#wasNotified = true;
    if (!this.#isWaking) void this.#wake();
  };

  /** Wakes the watches at once, and again later if there were more notifications. */
  async #wake(): Promise<void> {
    const { signal } = this.#closing;
    this.#isWaking = true;
    while (this.#wasNotified && !signal.aborted) {
      this.#wasNotified = false;
      this.#hints.changedAll();
      await backgroundClock.wait(wakeEveryMs, signal).catch(() => undefined);
    }
    this.#isWaking = false;
  }
}
