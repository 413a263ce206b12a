/** Statements on their way to the server: over the pools of a DataSource, each connection watched, every wait bounded. */
import { isStorageError, type StorageError } from '@kvent/key-value-storage/core';
import type { Columns } from '../sql/decode-row.js';
import type { PlanGeneration } from '../plan-generation.js';
import type { Statement } from '../sql/statement.js';
import { failureOf, isBroken, NotConnected, unavailable } from './failure.js';

/** What is needed of a connection of `pg`. */
export interface Client {
  query(config: object): Promise<{ readonly rows: Columns[]; readonly rowCount: number | null }>;
  release(destroy?: boolean | Error): void;
  on(event: 'error' | 'notice', listener: (about: Notice) => void): unknown;
  off(event: 'error' | 'notice', listener: (about: Notice) => void): unknown;
}

/** A message of the server. `routine`: the function of its source that wrote it. */
interface Notice {
  readonly routine?: string;
}

/** What is needed of a pool of `pg`: TypeORM's `dataSource.driver.master` and its `slaves` are such. */
export interface Pool {
  connect(): Promise<Client>;
  on(event: 'connect', listener: (client: Client) => void): unknown;
  off(event: 'connect', listener: (client: Client) => void): unknown;
}

export interface ConnectionsOptions {
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
}

/** What a statement is run for. `write`: when no answer comes, its effect is unknown. */
export type Purpose = 'read' | 'write';

/** Runs statements, wherever they go. Rejects with what the driver says; `Connections` and `within` make errors of it. */
export interface Session {
  run(statement: Statement, parameters: readonly unknown[], purpose: Purpose): Promise<readonly Columns[]>;
}

const asItComes = (text: string): string => text;
/** Part of every query: no parser of the application, whatever it has set for its own queries. Every column is text. */
export const textOnly = { rowMode: 'array', types: { getTypeParser: () => asItComes } } as const;

export function queryOf(statement: Statement, parameters: readonly unknown[], prepare: boolean, generation: number): object {
  const { name, text } = statement;
  return {
    text,
    values: parameters,
    ...textOnly,
    ...(prepare ? { name: generation === 0 ? name : `${name}_${generation}` } : {}),
  };
}

/** A session that lasts until it is ended. */
export interface HeldSession {
  readonly session: Session;
  end(): Promise<void>;
}

export class Connections {
  readonly #options: ConnectionsOptions;
  #nextReplica = 0;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  /** Runs one statement on a connection of its own. */
  async run(statement: Statement, parameters: readonly unknown[], purpose: Purpose): Promise<readonly Columns[]> {
    return await this.with(async (connection) => await connection.run(statement, parameters, purpose));
  }

  /** Reads that may be old go to the replicas in turn, where there are any. */
  async runStale(statement: Statement, parameters: readonly unknown[]): Promise<readonly Columns[]> {
    const { replicas, primary } = this.#options;
    const pool = replicas[this.#nextReplica++ % Math.max(replicas.length, 1)] ?? primary;
    return await this.with(async (connection) => await connection.run(statement, parameters, 'read'), pool);
  }

  /** A session within one snapshot, until it is ended. */
  async snapshot(): Promise<HeldSession> {
    return await this.#hold('begin isolation level repeatable read read only');
  }

  /** The table held still: whoever would write to it waits, until this is ended. */
  async freeze(table: string, lockTimeoutMs: number): Promise<HeldSession> {
    return await this.#hold('begin', `set local lock_timeout = ${lockTimeoutMs}`, `lock table ${table} in exclusive mode`);
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
    const end = async (): Promise<void> => {
      // what is broken is thrown away, and the transaction with it
      const broken = await connection.query('commit').then(
        () => false,
        () => true,
      );
      connection.release(broken);
    };
    return { session: connection, end };
  }

  /** Work on one connection. It goes back into the pool unless it broke. */
  async with<R>(work: (connection: Connection) => Promise<R>, pool = this.#options.primary): Promise<R> {
    const connection = await this.#acquire(pool);
    try {
      const answer = await work(connection);
      connection.release(false);
      return answer;
    } catch (error) {
      connection.release(isBroken(error));
      throw error;
    }
  }

  async #acquire(pool: Pool): Promise<Connection> {
    const { name, acquireTimeoutMs } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const asked = pool.connect();
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(resolve, acquireTimeoutMs, undefined);
    });
    try {
      const client = await Promise.race([asked, late]);
      if (client !== undefined) return new Connection(client, this.#options);
    } catch (error) {
      throw new NotConnected(unavailable(`${name} cannot be reached`, new Error(error instanceof Error ? error.message : String(error))));
    } finally {
      clearTimeout(timer);
    }
    asked.then(
      (client) => client.release(),
      () => undefined,
    );
    throw new NotConnected(
      unavailable(`${name} gave no connection within ${acquireTimeoutMs} ms: the pool is exhausted, or the server does not answer`),
    );
  }
}

/** A connection while it is out of the pool, watched. */
export class Connection implements Session {
  readonly #client: Client;
  readonly #options: ConnectionsOptions;
  /** Whether a commit's wait for the standbys was broken off. */
  #unconfirmed = false;

  constructor(client: Client, options: ConnectionsOptions) {
    this.#client = client;
    this.#options = options;
    // connections of the application's pool may be older than our listening
    client.on('error', this.#broke);
    client.on('notice', this.#noticed);
  }

  async run(statement: Statement, parameters: readonly unknown[], purpose: Purpose): Promise<readonly Columns[]> {
    const { prepare, plans, requestTimeoutMs } = this.#options;
    const query = { ...queryOf(statement, parameters, prepare, plans?.current ?? 0), query_timeout: requestTimeoutMs };
    const { rows } = await this.#client.query(query);
    if (this.#unconfirmed && purpose === 'write')
      throw new Error('The wait for the standbys was broken off: the commit is on the primary, and may not be on another machine.');
    return rows;
  }

  /** A text that is run once. */
  async query(text: string, values: readonly unknown[] = []): Promise<readonly Columns[]> {
    return (await this.#client.query({ text, values, ...textOnly, query_timeout: this.#options.requestTimeoutMs })).rows;
  }

  release(destroy: boolean): void {
    this.#client.off('error', this.#broke);
    this.#client.off('notice', this.#noticed);
    this.#client.release(destroy);
  }

  readonly #broke = (): void => undefined;

  /** The server acknowledges such a commit with no more than a warning. */
  readonly #noticed = ({ routine }: Notice): void => {
    if (routine === 'SyncRepWaitForLSN') this.#unconfirmed = true;
  };
}

/** The error of Kvent for what a session rejected with. */
export function errorOf(error: unknown, name: string, purpose: Purpose): StorageError {
  if (isStorageError(error)) return error;
  return error instanceof NotConnected ? error.failure : failureOf(error, name, purpose === 'write');
}
