/**
 * Wake-ups between processes by NOTIFY and LISTEN, where `notify` is set. They are no truth: one
 * that is lost costs the time until the next poll. A notification is a statement of its own after
 * the commit, at most one in flight: within the commit it would make all commits of the server wait
 * for one lock.
 */
import { randomUUID } from 'node:crypto';
import { backgroundClock } from '@kvent/key-value-storage/internal';
import type { HintSource, RowAddress } from '@kvent/key-value-storage/provider';
import type { Connections } from './connections.js';

/** The server's limit is 8,000 bytes. */
const payloadBytesMax = 7_900;
/** A connection that is cut without a word is found by a statement. */
const checkEveryMs = 10_000;
const reconnectMs = 1_000;

type ChangedRow = readonly [database: string, container: string, entity: string, key: string];

/** Without `rows`, anything may have changed. */
interface Message {
  readonly from: string;
  readonly rows?: readonly ChangedRow[];
}

export class Notifications {
  readonly #connections: Connections;
  readonly #hints: HintSource;
  readonly #channel: string;
  readonly #id = randomUUID();
  readonly #closing = new AbortController();
  readonly #changed = new Map<string, ChangedRow>();
  #isSending = false;
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

  /** Notifies other processes of rows that were committed here. */
  publish(database: string, addresses: readonly RowAddress[]): void {
    for (const { container, entity, key } of addresses)
      this.#changed.set([database, container, entity, key].join('\0'), [database, container, entity, key]);
    if (!this.#isSending) void this.#send();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#listening;
  }

  async #send(): Promise<void> {
    this.#isSending = true;
    // a failure is a lost wake-up
    while (this.#changed.size > 0 && !this.#closing.signal.aborted) {
      const rows = [...this.#changed.values()];
      this.#changed.clear();
      const parameters = [this.#channel, this.#payloadOf(rows)];
      await this.#connections
        .with((connection) => connection.query('select pg_catalog.pg_notify($1, $2)', parameters))
        .catch(() => undefined);
    }
    this.#isSending = false;
  }

  #payloadOf(rows: readonly ChangedRow[]): string {
    const payload = JSON.stringify({ from: this.#id, rows } satisfies Message);
    return Buffer.byteLength(payload) <= payloadBytesMax
      ? payload
      : JSON.stringify({ from: this.#id } satisfies Message);
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

  readonly #received = (payload: string): void => {
    const { from, rows } = JSON.parse(payload) as Message;
    if (from === this.#id) return;
    if (rows === undefined) return this.#hints.changedAll();
    for (const [database, container, entity, key] of rows)
      this.#hints.changed(database, [{ container, entity, key }]);
  };
}
