/** Runs statements on the pools of a provider. Every wait has a limit. */
import { backgroundClock, messageOf, onAbort, retrying } from '@kvent/key-value-storage/internal';
import { storageError, systemClock } from '@kvent/key-value-storage/provider';
import type { Columns } from '../sql/decode-row.js';
import type { PlanGeneration } from './plan-generation.js';
import type { Statement } from '../sql/statement.js';
import { Connection, type Client } from './connection.js';
import { eq } from '../sql/operators.js';
import { isBroken, mayRunAgain, NoResponse, NotConnected, standby, unreachable, wasLost } from './failure.js';
import type { HeldSession, Purpose, Session } from './session.js';

/** The part of a `pg` pool that is used. */
export interface Pool {
  readonly options?: { readonly max?: number };
  /** Whether it was ended: it gives no more connections, and calls that wait never settle. */
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
  /** When to plan them again. */
  readonly plans: PlanGeneration | undefined;
  readonly acquireTimeoutMs: number;
  /** Whether a standby may be used as the primary. */
  readonly mayBeStandby: boolean;
  readonly requestTimeoutMs: number;
  /** Whether the table's rows are under row-level security. */
  readonly isSecured: () => boolean;
  /** Called for a pool whose first connection can be read on the network. */
  readonly openToReaders: () => void;
  /** Why the pools have ended, where the application has ended them. */
  readonly ended?: () => string | undefined;
}

/**
 * Of statements that the server undoes for other sessions: deadlocks, serialization failures,
 * races.
 */
const serializationRetry = { attempts: 40, delayMs: 2, delayMsMax: 50, budgetMs: 10_000 };

interface ListenOptions {
  readonly received: (payload: string) => void;
  readonly checkEveryMs: number;
  readonly signal: AbortSignal;
}

interface Waiting {
  readonly pool: Pool;
  readonly refuse: (error: Error) => void;
}

/** Only a session of the same user on the same database, and only while it runs a statement. */
const cancelStatement = `select pg_catalog.pg_cancel_backend(pid) from pg_catalog.pg_stat_activity
where pid ${eq} $1::pg_catalog.int4 and state ${eq} 'active' and usename ${eq} session_user and datname ${eq} pg_catalog.current_database()`;

/** A held session is idle while its reader does something else. */
const untilItEnds = 'set local idle_in_transaction_session_timeout = 0';

export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #pools: readonly Pool[];
  /** Every connection that a pool has given, until the pool removes it. */
  readonly #connections = new Map<Client, Connection>();
  /** Calls that wait for a connection. */
  readonly #waiting = new Set<Waiting>();
  /** Pools whose connections may still be readable on the network. */
  readonly #unchecked: Set<Pool>;
  /** Each ends one held session. */
  readonly #held = new Set<() => void>();
  #nextReplica = 0;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
    this.#pools = [options.primary, ...options.replicas];
    this.#unchecked = new Set(this.#pools);
    for (const pool of this.#pools) {
      pool.on('connect', this.#watch);
      pool.on('remove', this.#forget);
    }
  }

  /**
   * Runs one statement on a connection of its own. Runs it again when the server has undone it for
   * another session, and once when it only reads and the connection was lost. `stale`: on the
   * replicas in turn, where there are any.
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
      this.#failed(connection, pool, error);
      const run = (): Promise<readonly Columns[]> =>
        this.with((another) => another.run(statement, parameters, purpose), pool);
      return await runAgain(error, run, purpose);
    }
  }

  /**
   * Runs the work in a transaction on a connection of its own. Runs it again, as a whole, when the
   * server has undone it for another session.
   */
  async transaction<R>(work: (session: Session) => Promise<R>): Promise<R> {
    const once = (): Promise<R> =>
      this.with(async (connection) => {
        await connection.query('begin isolation level read committed');
        try {
          const result = await work(connection);
          await connection.query('commit', [], 'write');
          return result;
        } catch (error) {
          if (!isBroken(error)) await connection.query('rollback');
          throw error;
        }
      });
    return await retrying(once, serializationRetry, { clock: systemClock, isRetryable: mayRunAgain });
  }

  /** A session in one snapshot, until it is ended: then `ended` is called, once. */
  async snapshot(ended: () => void): Promise<HeldSession> {
    return await this.#hold(['begin isolation level repeatable read read only', untilItEnds], ended);
  }

  /** Freezes the table: its writers wait until this session is ended. */
  async freeze(table: string, lockTimeoutMs: number): Promise<HeldSession> {
    return await this.#hold([
      'begin',
      untilItEnds,
      `set local lock_timeout = ${lockTimeoutMs}`,
      `lock table ${table} in exclusive mode`,
    ]);
  }

  /**
   * Receives the notifications of a channel, on a connection of its own, until the signal. Rejects
   * when that connection is lost: at once where its end is known, else by a statement now and then.
   */
  async listen(channel: string, { received, checkEveryMs, signal }: ListenOptions): Promise<void> {
    const connection = await this.#acquire(this.#options.primary);
    const over = new AbortController();
    const end = (): void => over.abort();
    const remove = connection.onNotification(received, end);
    const leave = onAbort(signal, end);
    try {
      await connection.query(`listen "${channel.replaceAll('"', '""')}"`);
      while (!over.signal.aborted) {
        await backgroundClock.wait(checkEveryMs, over.signal).catch(() => undefined);
        if (!over.signal.aborted) await connection.query('select 1');
      }
    } finally {
      leave();
      remove();
      // it would receive notifications in the pool too
      connection.release(true);
    }
  }

  /** A transaction on a connection of its own. */
  async #hold(statements: readonly string[], ended?: () => void): Promise<HeldSession> {
    const connection = await this.#acquire(this.#options.primary);
    try {
      for (const text of statements) await connection.query(text);
    } catch (error) {
      connection.release(true);
      throw error;
    }
    let isOver = false;
    const release = (broken: boolean): void => {
      if (isOver) return;
      isOver = true;
      this.#held.delete(abandon);
      connection.release(broken);
      ended?.();
    };
    const abandon = (): void => release(true);
    this.#held.add(abandon);
    const commit = async (): Promise<void> => {
      if (isOver) return;
      // a broken connection is destroyed, and its transaction with it
      const broken = await connection.query('commit').then(
        () => false,
        () => true,
      );
      release(broken);
    };
    let ending: Promise<void> | undefined;
    const end = (): Promise<void> => (ending ??= commit());
    const session: Session = {
      run: async (...args) => {
        if (isOver || ending !== undefined)
          throw storageError('STORAGE_NOT_OPEN', `${this.#options.name} is not open.`, {});
        return await connection.run(...args);
      },
    };
    return { session, end };
  }

  /** Runs the work on one connection, which returns to the pool unless it is broken. */
  async with<R>(work: (connection: Connection) => Promise<R>, pool = this.#options.primary): Promise<R> {
    const connection = await this.#acquire(pool);
    try {
      const result = await work(connection);
      connection.release(false);
      return result;
    } catch (error) {
      this.#failed(connection, pool, error);
      throw error;
    }
  }

  /** Releases a connection whose statement has failed. */
  #failed(connection: Connection, pool: Pool, error: unknown): void {
    connection.release(isBroken(error));
    const { processId } = connection;
    if (error instanceof NoResponse && processId !== undefined) void this.#cancel(processId, pool);
  }

  /**
   * A server that waits for a lock does not notice that its client is gone: it would keep the
   * session, and might run the statement much later. In vain where it cannot be reached either.
   */
  async #cancel(processId: number, pool: Pool): Promise<void> {
    try {
      const connection = await this.#acquire(pool);
      const isBroken = await connection.query(cancelStatement, [processId]).then(
        () => false,
        () => true,
      );
      connection.release(isBroken);
    } catch {
      // the pool has ended, or gives no connection
    }
  }

  /**
   * Ends the sessions that are still held, and removes the listeners; the pools stay as they are.
   * The function that it returns destroys every socket.
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
      const { primary, mayBeStandby } = this.#options;
      let connection = this.#watch(await this.#connect(pool));
      if (pool === primary && !mayBeStandby && connection.isPrimary !== true)
        connection = await this.#onPrimary(connection, pool);
      if (this.#unchecked.delete(pool) && connection.isOpenToReaders) this.#options.openToReaders();
      return connection;
    } catch (error) {
      if (error instanceof NotConnected) throw error;
      const { name, ended } = this.#options;
      const why = ended?.();
      if (why !== undefined)
        throw new NotConnected(
          storageError('STORAGE_UNAVAILABLE', why, { unreachable: true }, { retryable: false }),
        );
      throw new NotConnected(unreachable(`${name} cannot be reached`, new Error(messageOf(error))));
    }
  }

  /**
   * A connection to a primary. A standby at its address would show what it has replayed as what is
   * current. Asked once for each connection; where one is lost by that, another one is tried.
   */
  async #onPrimary(first: Connection, pool: Pool): Promise<Connection> {
    let connection = first;
    for (let attempt = 1; ; attempt += 1) {
      try {
        if (connection.isPrimary ?? (await connection.askIsPrimary())) return connection;
      } catch (error) {
        connection.release(true);
        if (attempt > 1) throw error;
        connection = this.#watch(await this.#connect(pool));
        continue;
      }
      connection.release(true);
      throw new NotConnected(standby(this.#options.name));
    }
  }

  /**
   * With a limit of its own: a pool that ends while a call waits for a connection never settles it.
   */
  #connect(pool: Pool): Promise<Client> {
    const { name, acquireTimeoutMs } = this.#options;
    const late = `${name} gave no connection within ${acquireTimeoutMs} ms: the pool is exhausted, or the server does not respond`;
    return new Promise<Client>((resolve, reject) => {
      let isRefused = false;
      const refuse = (error: Error): void => {
        isRefused = true;
        settled();
        reject(error);
      };
      const timer = setTimeout(() => refuse(new NotConnected(unreachable(late))), acquireTimeoutMs);
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
   * Without an error listener, a connection that breaks outside the pool ends the process. It can
   * break as soon as it exists, so the listener is added then; connections that are older than the
   * provider get one when they are acquired. The query rejects all the same.
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
