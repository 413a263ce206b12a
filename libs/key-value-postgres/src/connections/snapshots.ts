/**
 * The snapshots of exports. Each holds a connection for as long as its reader likes to read, so
 * their number is limited, in all and for each database, and the time that one waits for its
 * reader. Together with the writes that wait for locked rows, at most half of the pool, they leave
 * connections for all other calls.
 */
import { inspect } from '@kvent/key-value-storage/internal';
import type { Clock } from '@kvent/key-value-storage/provider';
import type { Connections } from './connections.js';
import { unavailable } from './failure.js';
import type { HeldSession, Session } from './session.js';

interface SnapshotsOptions {
  /** In messages. */
  readonly name: string;
  readonly connections: Pick<Connections, 'snapshot'>;
  readonly poolSize: number;
  readonly clock: Clock;
  readonly readerTimeoutMs: number;
}

export class Snapshots {
  readonly #options: SnapshotsOptions;
  readonly #most: number;
  readonly #mostOfDatabase: number;
  /** How many are open of each database that has any. */
  readonly #open = new Map<string, number>();

  constructor(options: SnapshotsOptions) {
    this.#options = options;
    this.#most = Math.max(1, Math.floor(options.poolSize / 3));
    this.#mostOfDatabase = Math.ceil(this.#most / 2);
  }

  /**
   * `STORAGE_UNAVAILABLE` when as many as allowed are open. After `readerTimeoutMs` without a
   * statement the session has ended: its connection is back in the pool, and statements reject with
   * `STORAGE_UNAVAILABLE`.
   */
  async begin(database: string): Promise<HeldSession> {
    const { name, connections, clock, readerTimeoutMs } = this.#options;
    this.#assertFree(database);
    this.#count(database, 1);
    let isOver = false;
    let isLate = false;
    let wait = new AbortController();
    const ended = (): void => {
      isOver = true;
      wait.abort();
      this.#count(database, -1);
    };
    const { session, end } = await connections.snapshot(ended).catch((error: unknown) => {
      ended();
      throw error;
    });
    const waitForReader = (): void => {
      wait = new AbortController();
      const late = async (): Promise<void> => {
        isLate = true;
        await end();
      };
      void clock.wait(readerTimeoutMs, wait.signal).then(late, () => undefined);
    };
    const run: Session['run'] = async (...statement) => {
      if (isLate)
        throw unavailable(
          `${name}: an export has ended, because its reader did not read a page within ${readerTimeoutMs} ms (readerTimeoutMs)`,
        );
      wait.abort();
      try {
        return await session.run(...statement);
      } finally {
        if (!isOver) waitForReader();
      }
    };
    return { session: { run }, end };
  }

  #assertFree(database: string): void {
    const { name, poolSize } = this.#options;
    const ofDatabase = this.#open.get(database) ?? 0;
    const all = [...this.#open.values()].reduce((sum, count) => sum + count, 0);
    const open =
      all >= this.#most
        ? `${all} exports are open`
        : ofDatabase >= this.#mostOfDatabase
          ? `${ofDatabase} exports of ${inspect(database)} are open`
          : undefined;
    if (open !== undefined)
      throw unavailable(
        `${name}: ${open}; with a pool of ${poolSize} connections, ${this.#most} may be, ${this.#mostOfDatabase} of one database`,
      );
  }

  #count(database: string, by: 1 | -1): void {
    const count = (this.#open.get(database) ?? 0) + by;
    if (count === 0) this.#open.delete(database);
    else this.#open.set(database, count);
  }
}
