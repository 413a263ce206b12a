/** One connection of a pool: its statements run one after the other, each with a time limit. */
import { storageError } from '@kvent/key-value-storage/provider';
import type { PlanGeneration } from './plan-generation.js';
import type { Columns } from '../sql/decode-row.js';
import type { Statement } from '../sql/statement.js';
import { NoResponse } from './failure.js';
import { currentScope, frameOf, type Framing } from './scope.js';
import type { Purpose, Session } from './session.js';
import { TextQuery, type Protocol } from './text-query.js';

/** The part of a `pg` connection that is used. */
export interface Client {
  /** Absent in `pg-native`. */
  readonly connection?: Partial<Protocol>;
  /** Of the session on the server; behind a pooler it is a number that no session has. */
  readonly processID?: number | null;
  /** Whether `pg` sends a query before the one before it has its result. */
  readonly pipeline?: boolean;
  /** Queries that wait; in older releases of `pg` without the underscore. */
  readonly _queryQueue?: object[];
  readonly queryQueue?: object[];
  /** Whether no query is in flight. */
  readonly readyForQuery?: boolean;
  /** 'T' in a transaction, 'E' in one that has failed; absent in older releases of `pg`. */
  getTransactionStatus?(): string | null;
  query(query: object): unknown;
  release(destroy?: boolean | Error): void;
  on(event: ClientEvent, listener: (about: Notice) => void): unknown;
  off(event: ClientEvent, listener: (about: Notice) => void): unknown;
}

type ClientEvent = 'error' | 'notice' | 'notification' | 'end';

/**
 * A message of the server. `routine`: the function in its source that wrote it; `payload`: of a
 * notification.
 */
interface Notice {
  readonly routine?: string;
  readonly payload?: string;
}

interface ConnectionOptions {
  /** Whether statements are prepared once for each connection. */
  readonly prepare: boolean;
  /** When to plan them again. */
  readonly plans: PlanGeneration | undefined;
  readonly requestTimeoutMs: number;
  /** Whether the table's rows are under row-level security. */
  readonly isSecured: () => boolean;
}

export class Connection implements Session {
  readonly #client: Client;
  readonly #options: ConnectionOptions;
  /** One timer for all statements: each restarts it. */
  readonly #timer: NodeJS.Timeout;
  /** Rejects the statement in flight. */
  #giveUp: (() => void) | undefined;
  #isLimited = true;
  #isPrimary: boolean | undefined;
  /** Whether a commit's wait for the standbys was canceled. */
  #unconfirmed = false;

  constructor(client: Client, options: ConnectionOptions) {
    this.#client = client;
    this.#options = options;
    this.#timer = setTimeout(() => this.#giveUp?.(), options.requestTimeoutMs).unref();
    client.on('error', this.#broke);
    client.on('notice', this.#noticed);
  }

  /** Whether it goes to another machine without encryption. */
  get isOpenToReaders(): boolean {
    const { encrypted, remoteAddress } = this.#client.connection?.stream ?? {};
    return encrypted !== true && remoteAddress !== undefined && !isLoopback(remoteAddress);
  }

  /** Of the session on the server, where the driver knows it. */
  get processId(): number | undefined {
    return this.#client.processID ?? undefined;
  }

  /** Whether its server takes writes, once that was asked: while it is connected, it stays one. */
  get isPrimary(): boolean | undefined {
    return this.#isPrimary;
  }

  async askIsPrimary(): Promise<boolean> {
    const [line = []] = await this.query('select pg_catalog.pg_is_in_recovery()');
    return (this.#isPrimary = line[0] !== 't');
  }

  get takesOwnQueries(): boolean {
    return takesOwnQueries(this.#client);
  }

  run(statement: Statement, parameters: readonly unknown[], purpose: Purpose): Promise<readonly Columns[]> {
    const { prepare, plans, isSecured } = this.#options;
    const scope = isSecured() ? currentScope() : undefined;
    const frame = scope === undefined ? undefined : frameOf(scope, false);
    const name = prepare ? nameOf(statement, plans?.current ?? 0) : '';
    return this.#send(
      { name, text: statement.text, values: parameters, frame, received: statement.received },
      purpose,
    );
  }

  /** Runs a text once. */
  query(
    text: string,
    values: readonly unknown[] = [],
    purpose: Purpose = 'read',
  ): Promise<readonly Columns[]> {
    return this.#send({ name: '', text, values }, purpose);
  }

  /** The statements of the work take as long as they take. */
  async withoutLimit<R>(work: () => Promise<R>): Promise<R> {
    this.#isLimited = false;
    try {
      return await work();
    } finally {
      this.#isLimited = true;
    }
  }

  /**
   * Calls `received` with the payload of each notification of its channels, and `ended` when the
   * connection is lost; returns what removes both.
   */
  onNotification(received: (payload: string) => void, ended: () => void): () => void {
    const notified = ({ payload }: Notice): void => {
      if (payload !== undefined) received(payload);
    };
    const events = { notification: notified, error: ended, end: ended } as const;
    for (const event of ['notification', 'error', 'end'] as const) this.#client.on(event, events[event]);
    return () => {
      for (const event of ['notification', 'error', 'end'] as const) this.#client.off(event, events[event]);
    };
  }

  release(destroy: boolean): void {
    this.#client.release(destroy);
  }

  /** Removes the listeners, once the pool has removed it or the provider is closed. */
  forget(): void {
    clearTimeout(this.#timer);
    this.#client.off('error', this.#broke);
    this.#client.off('notice', this.#noticed);
  }

  #send(sent: Sent, purpose: Purpose): Promise<readonly Columns[]> {
    this.#timer.refresh();
    this.#unconfirmed = false;
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => {
        this.#giveUp = undefined;
        // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- the driver's own error
        reject(error);
      };
      const done = (rows: readonly Columns[]): void => {
        if (this.#unconfirmed && purpose === 'write') return fail(unconfirmed());
        this.#giveUp = undefined;
        resolve(rows);
      };
      const late = (): void => fail(new NoResponse());
      this.#giveUp = this.#isLimited ? late : undefined;
      send(this.#client, sent, done, fail);
    });
  }

  readonly #broke = (): void => undefined;

  /** The server acknowledges such a commit with only a warning. */
  readonly #noticed = ({ routine }: Notice): void => {
    if (routine === 'SyncRepWaitForLSN') this.#unconfirmed = true;
  };
}

const unconfirmed = (): Error =>
  new Error(
    'The wait for the standbys was canceled: the commit is on the primary, and perhaps on no other machine.',
  );

const isLoopback = (address: string): boolean => /^(::ffff:)?127\.|^::1$/.test(address);

/** Under another name a statement is planned again. */
const nameOf = ({ name }: Statement, generation: number): string =>
  generation === 0 ? name : `${name}_${generation}`;

/**
 * Returns every column as text, whatever parsers the application has set. Without a name, the
 * statement is prepared for this run only. `pg-native` and connections with `pipeline` take only
 * the queries of `pg`.
 */
export function send(
  client: Client,
  { name, text, values, frame, received }: Sent,
  resolve: (rows: readonly Columns[]) => void,
  reject: (error: unknown) => void,
): void {
  const query = new TextQuery(name, text, values, (error, result) => {
    if (error !== null && error !== undefined) reject(error);
    // a wrapper of `query` has sent a copy of the query, without the settings: rows were hidden
    // from it
    else if (frame !== undefined && result !== query.result)
      reject(unscoped('a wrapper of client.query sends copies'));
    else resolve(result?.rows ?? []);
  });
  query.received = received;
  const ours = takesOwnQueries(client);
  if (frame !== undefined) {
    if (!ours) {
      reject(unscoped('pg-native and pipeline do not take them'));
      return;
    }
    query.before = frame.before;
    query.after = frame.after;
  }
  const { rowMode, types, callback } = query;
  const returned = client.query(
    ours ? query : { ...(name === '' ? {} : { name }), text, values, rowMode, types, callback },
  );
  // a wrapper of `query` may return a promise, and reject it before it calls `pg`
  if (isPromise(returned)) returned.then(undefined, reject);
}

interface Sent {
  readonly received?: Statement['received'];
  readonly name: string;
  readonly text: string;
  readonly values: readonly unknown[];
  /** Statements around it, in one round trip. */
  readonly frame?: { readonly before: readonly Framing[]; readonly after: readonly Framing[] } | undefined;
}

export const takesOwnQueries = ({ connection, pipeline }: Client): boolean =>
  connection?.parsedStatements !== undefined && pipeline !== true;

const unscoped = (why: string): Error =>
  storageError('STORAGE_UNSUPPORTED', `Row-level security needs Kvent's own query objects; ${why}.`, {});

const isPromise = (returned: unknown): returned is PromiseLike<unknown> =>
  typeof (returned as Partial<PromiseLike<unknown>> | null | undefined)?.then === 'function';
