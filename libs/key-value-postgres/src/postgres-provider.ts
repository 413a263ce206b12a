/**
 * The storage provider for Postgres: rows in one table, through the pool of a TypeORM data source.
 */
import {
  invalidState,
  storageError,
  throwIfAborted,
  untilAborted,
  type Address,
  type Batch,
  type CallerTransactions,
  type Clock,
  type CommitOptions,
  type CommitResult,
  type CountRange,
  type FeedPage,
  type FeedRequest,
  type Hint,
  type HintTarget,
  type ProviderFeatures,
  type ProviderReadOptions,
  type ReadResult,
  type ScanPage,
  type ScanRange,
  type StorageAdministration,
  type StorageProvider,
} from '@kvent/key-value-storage/provider';
import type { EntityManager } from 'typeorm';
import { TableAccess } from './table-access.js';
import { resolvePostgres, type PostgresProviderOptions, type ResolvedPostgres } from './postgres-options.js';
import { openDatabase, type DatabaseHandle } from './database-handle.js';
import { ambientTransactions } from './transactions/ambient-transactions.js';
import { openTransactions, transactionOf } from './transactions/open-transactions.js';
import { TransactionEnds } from './transactions/transaction-ends.js';
import { TransactionProvider } from './transactions/transaction-provider.js';

interface Opened {
  readonly source: DatabaseHandle;
  readonly table: TableAccess;
  /** Where the data source is the application's. */
  readonly ends: TransactionEnds | undefined;
  /** The transaction that calls join. */
  readonly current: (() => object | undefined) | undefined;
}

export class PostgresProvider implements StorageProvider {
  readonly name: string;
  readonly clock: Clock | undefined;
  readonly administration: StorageAdministration;
  readonly transactions: CallerTransactions;
  readonly #options: ResolvedPostgres;
  #opened: Opened | undefined;
  #opening = false;
  #closing: Promise<void> | undefined;

  /** `INVALID_OPTION` names the option. Connects only in `open`. */
  constructor(options: PostgresProviderOptions) {
    this.#options = resolvePostgres(options);
    this.transactions = {
      identityOf: (transaction) => transactionOf(transaction as EntityManager),
      open: (inside) => openTransactions(inside as EntityManager | undefined),
      ...(this.#options.transactions !== undefined && { current: () => this.#opened?.current?.() }),
    };
    this.clock = this.#options.clock;
    this.name = `Postgres table ${this.#options.table.quoted}`;
    this.administration = {
      databases: async () => await this.#table().databases(),
      spaces: async (database) => await this.#table().spaces(database),
      export: (database, part) => this.#table().export(database, part),
      import: async (database, rows) => await this.#table().import(database, rows),
      drop: async (database) => await this.#table().drop(database),
      count: async (database) => await this.#table().count(database),
      freeze: async () => await this.#table().freeze(),
    };
  }

  /** Before `open` the usual features; then those of the server's settings. */
  get features(): ProviderFeatures {
    return {
      durable: this.#opened?.source.durable ?? 'fsync',
      shared: true,
      staleReads: this.#opened?.source.staleReads ?? false,
      coalesce: true,
      expiry: 'exact',
      scan: 'ordered',
      clock: this.#options.clock === undefined ? 'own' : 'replaceable',
      feed: true,
      readsInScans: true,
    };
  }

  /**
   * Connects, migrates the table, and checks the table and the server. `STORAGE_UNAVAILABLE` when
   * the server cannot be reached, or when there is no table and `migrate` is 'never'.
   */
  async open(): Promise<void> {
    if (this.#opened !== undefined || this.#opening)
      throw invalidState('This PostgresProvider is already open; give each storage a provider of its own.');
    this.#opening = true;
    try {
      await this.#closing;
      const current = await ambientTransactions(this.#options);
      const source = await openDatabase(this.#options, this.name);
      const table = new TableAccess(this.#options, this.name, source);
      await table.prepare().catch(async (error: unknown) => {
        await source.close();
        throw error;
      });
      const { dataSource } = this.#options;
      const ends = dataSource === undefined ? undefined : new TransactionEnds(dataSource);
      this.#opened = { source, table, ends, current };
    } finally {
      this.#opening = false;
    }
  }

  async close(): Promise<void> {
    const opened = this.#opened;
    this.#opened = undefined;
    if (opened !== undefined) {
      opened.ends?.close();
      this.#closing = opened.table.idle().then(async () => await opened.source.close());
    }
    await this.#closing;
  }

  async read(addresses: readonly Address[], options: ProviderReadOptions = {}): Promise<ReadResult> {
    throwIfAborted('A read', options.signal);
    return await untilAborted('A read', 'none', options.signal, this.#table().read(addresses, options));
  }

  async scan(
    ranges: readonly ScanRange[],
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<readonly ScanPage[]> {
    throwIfAborted('A scan', options.signal);
    return await untilAborted('A scan', 'none', options.signal, this.#table().scan(ranges));
  }

  async count(
    range: CountRange,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<number> {
    throwIfAborted('A count', options.signal);
    return await untilAborted('A count', 'none', options.signal, this.#table().countRange(range));
  }

  async commit(batches: readonly Batch[], options: CommitOptions = {}): Promise<readonly CommitResult[]> {
    throwIfAborted('A commit', options.signal);
    return await untilAborted('A commit', 'unknown', options.signal, this.#table().commit(batches, options));
  }

  /**
   * The same contract inside a transaction of the application. Takes the `EntityManager` of
   * `dataSource.transaction(...)`; `INVALID_OPTION` when that is not a transaction of the
   * provider's own `dataSource` option.
   */
  within(transaction: object): StorageProvider {
    const { table, ends } = this.#open();
    return new TransactionProvider(transaction, {
      name: this.name,
      dialect: () => table.dialect,
      useBase: (base) => table.useBase(base),
      clock: table.clock,
      source: this.#options.dataSource,
      isSecured: table.isSecured,
      ends,
    });
  }

  /** Of the commits of this process; with `notify` also of others that have it. */
  hints(targets: readonly HintTarget[], signal: AbortSignal): AsyncIterable<Hint> {
    return this.#table().listen(targets, signal);
  }

  async feed(request: FeedRequest): Promise<FeedPage> {
    throwIfAborted('A read of the feed', request.signal);
    const page = this.#table().feedPage(request);
    return await untilAborted('A read of the feed', 'none', request.signal, page);
  }

  async sweep(limit: number): Promise<number> {
    return await this.#table().sweep(limit);
  }

  #table(): TableAccess {
    return this.#open().table;
  }

  #open(): Opened {
    if (this.#opened === undefined) throw storageError('STORAGE_NOT_OPEN', `${this.name} is not open.`, {});
    return this.#opened;
  }
}
