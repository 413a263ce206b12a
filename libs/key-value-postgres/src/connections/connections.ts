/**
 * Statements on their way to the server: over the pools of a DataSource, each connection watched,
 * every wait bounded.
 */
import { messageOf, retrying } from '@kvent/key-value-storage/internal';
import { storageError, systemClock } from '@kvent/key-value-storage/provider';
import type { Columns } from '../sql/decode-row.js';
import type { PlanGeneration } from './plan-generation.js';
import type { Statement } from '../sql/statement.js';
import { Connection, type Client } from './connection.js';
import { isBroken, mayRunAgain, NotConnected, unavailable, wasLost } from './failure.js';
import type { HeldSession, Purpose, Session } from './session.js';

/**
 * What is needed of a pool of `pg`: TypeORM's `dataSource.driver.master` and its `slaves` are such.
 */
export interface Pool {
  /**
   * Whether it was told to end: it has no more connections to give, and no answer for those who
   * wait already.
   */
  readonly ending?: boolean;
  connect(): Promise<Client>;
  on(event: 'connect' | 'remove', listener: (client: Client) => void): unknown;
  off(event: 'connect' | 'remove', listener: (client: Client) => void): unknown;
}

interface ConnectionsOptions {
  /** In messages. */
  readonly name: string;
  readonly primary: Pool;
  readonly replicas: readonly Pool[];
  /** Whether statements are prepared once for each connection. */
  readonly prepare: boolean;
  /** When to plan them anew. */
  readonly plans: PlanGeneration | undefined;
  readonly acquireTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** Whether the table's rows are under row-level security. */
  readonly isSecured: () => boolean;
  /** Why the pools end, where the application has ended them. */
  readonly ended?: () => string | undefined;
}

/**
 * Of statements that the server undoes for other sessions: deadlocks, serialization failures,
 * races.
 */
const serializationRetry = { attempts: 40, delayMs: 2, delayMsMax: 50, budgetMs: 10_000 };

interface Waiting {
  readonly pool: Pool;
  readonly refuse: (error: Error) => void;
}

/** A held session is idle while whoever reads does something else. */
const untilItEnds = 'set local idle_in_transaction_session_timeout = 0';

export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #pools: readonly Pool[];
  /** Every connection that was seen, while its pool has it. */
  readonly #connections = new Map<Client, Connection>();
  /** Those who wait for a connection. */
  readonly #waiting = new Set<Waiting>();
  /** Ends each session that is held. */
  readonly #held = new Set<() => void>();
  #nextReplica = 0;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
    this.#pools = [options.primary, ...options.replicas];
    for (const pool of this.#pools) {
      pool.on('connect', this.#watch);
      pool.on('remove', this.#forget);
    }
  }

  /**
   * Runs one statement on a connection of its own. It runs again where the server has undone it for
   * another session, or, once, where the connection was lost and it only reads. `stale`: on the
   * replicas, one after the other, where there are any.
   */
  async run(
    statement: Statement,
    parameters: readonly unknown[],
    purpose: Purpose,
    consistency: 'current' | 'stale' = 'current',
  ): Promise<readonly Columns[]> {
    const { replicas, primary } = this.#options;
    const pool = (consistency === 'stale' && replicas[this.#nextReplica++ % replicas.length]) || primary;
    const connection = await this.#acquire(pool);
    try {
      const rows = await connection.run(statement, parameters, purpose);
      connection.release(false);
      return rows;
    } catch (error) {
      connection.release(isBroken(error));
      const run = (): Promise<readonly Columns[]> =>
        this.with((another) => another.run(statement, parameters, purpose), pool);
      return await runAgain(error, run, purpose);
    }
  }

  /** A session within one snapshot, until it is ended. */
  async snapshot(): Promise<HeldSession> {
    return await this.#hold('begin isolation level repeatable read read only', untilItEnds);
  }

  /** The table held still: whoever would write to it waits, until this is ended. */
  async freeze(table: string, lockTimeoutMs: number): Promise<HeldSession> {
    return await this.#hold(
      'begin',
      untilItEnds,
      `set local lock_timeout = ${lockTimeoutMs}`,
      `lock table ${table} in exclusive mode`,
    );
  }

  /** A transaction on a connection of its own. */
  async #hold(...statements: readonly string[]): Promise<HeldSession> {
    const connection = await this.#acquire(this.#options.primary);
    try {
      for (const text of statements) await connection.query(text);
    } catch (error) {
      connection.release(true);
      throw error;
    }
    let isOver = false;
    const abandon = (): void => {
      isOver = true;
      this.#held.delete(abandon);
      connection.release(true);
    };
    this.#held.add(abandon);
    const end = async (): Promise<void> => {
      if (isOver) return;
      // what is broken is thrown away, and the transaction with it
      const broken = await connection.query('commit').then(
        () => false,
        () => true,
      );
      if (isOver) return;
      isOver = true;
      this.#held.delete(abandon);
      connection.release(broken);
    };
    const session: Session = {
      run: async (...given) => {
        if (isOver) throw storageError('STORAGE_NOT_OPEN', `${this.#options.name} is not open.`, {});
        return await connection.run(...given);
      },
    };
    return { session, end };
  }

  /** Work on one connection. It goes back into the pool unless it broke. */
  async with<R>(work: (connection: Connection) => Promise<R>, pool = this.#options.primary): Promise<R> {
    const connection = await this.#acquire(pool);
    try {
      const result = await work(connection);
      connection.release(false);
      return result;
    } catch (error) {
      connection.release(isBroken(error));
      throw error;
    }
  }

  /**
   * Ends the sessions that are held, whoever forgot them, and lets go of what is listened to. The
   * pools are whoever's they are. What it returns closes every socket, whether the server says
   * goodbye or not.
   */
  close(): () => void {
    for (const abandon of [...this.#held]) abandon();
    for (const pool of this.#pools) {
      pool.off('connect', this.#watch);
      pool.off('remove', this.#forget);
    }
    const clients = [...this.#connections.keys()];
    for (const connection of this.#connections.values()) connection.forget();
    this.#connections.clear();
    return () => {
      for (const client of clients) client.connection?.stream?.destroy?.();
    };
  }

  async #acquire(pool: Pool): Promise<Connection> {
    try {
      return this.#watch(await this.#connect(pool));
    } catch (error) {
      if (error instanceof NotConnected) throw error;
      const { name, ended } = this.#options;
      const why = ended?.();
      if (why !== undefined)
        throw new NotConnected(storageError('STORAGE_UNAVAILABLE', why, {}, { retryable: false }));
      throw new NotConnected(unavailable(`${name} cannot be reached`, new Error(messageOf(error))));
    }
  }

  /**
   * Bounded, whatever the pool does: one that is ended while somebody waits for a connection never
   * answers.
   */
  async #connect(pool: Pool): Promise<Client> {
    const { name, acquireTimeoutMs } = this.#options;
    const late = `${name} gave no connection within ${acquireTimeoutMs} ms: the pool is exhausted, or the server does not answer`;
    return await new Promise<Client>((resolve, reject) => {
      let isRefused = false;
      const refuse = (error: Error): void => {
        isRefused = true;
        settled();
        reject(error);
      };
      const timer = setTimeout(() => refuse(new NotConnected(unavailable(late))), acquireTimeoutMs);
      const waiting: Waiting = { pool, refuse };
      const settled = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(waiting);
      };
      this.#waiting.add(waiting);
      pool.connect().then((client) => {
        settled();
        if (isRefused) client.release();
        else resolve(client);
      }, refuse);
    });
  }

  /**
   * A connection that breaks while it is out of the pool ends the process when nobody listens, and
   * it can break in the moment it is handed out: so it is listened to from its first moment on. Its
   * query rejects all the same. (Those of the application's pool may be older than we are.)
   */
  readonly #watch = (client: Client): Connection => {
    let connection = this.#connections.get(client);
    if (connection === undefined)
      this.#connections.set(client, (connection = new Connection(client, this.#options)));
    return connection;
  };

  readonly #forget = (client: Client): void => {
    this.#connections.get(client)?.forget();
    this.#connections.delete(client);
    for (const { pool, refuse } of [...this.#waiting])
      if (pool.ending === true) refuse(new Error('The pool has ended.'));
  };
}

async function runAgain<R>(error: unknown, run: () => Promise<R>, purpose: Purpose): Promise<R> {
  let failed = error;
  if (purpose === 'read' && wasLost(error))
    try {
      return await run();
    } catch (another) {
      failed = another;
    }
  return await retrying(run, serializationRetry, {
    clock: systemClock,
    isRetryable: mayRunAgain,
    failed: failed as Error,
  });
}
