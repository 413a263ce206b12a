/** The port inside a transaction of the application: the same statements on its connection. */
import {
  invalidOption,
  storageError,
  type Address,
  type Batch,
  type CommitResult,
  type CountRange,
  type ProviderFeatures,
  type ProviderReadOptions,
  type ReadResult,
  type ScanPage,
  type ScanRange,
  type StorageAdministration,
  type StorageProvider,
} from '@kvent/key-value-storage/provider';
import type { DataSource, EntityManager } from 'typeorm';
import { readByDatabase } from '../connections/by-database.js';
import { TransactionCommitter } from '../commit/transaction-committer.js';
import type { Client } from '../connections/connection.js';
import { refusalOf } from '../connections/failure.js';
import { sendBehindSavepoint } from '../connections/savepoint.js';
import { currentScope, inScope, type Framing } from '../connections/scope.js';
import { presentFeedBase, type FeedBase } from '../read/feed-base.js';
import { Reader } from '../read/reader.js';
import type { Columns } from '../sql/decode-row.js';
import type { Dialect, Statement } from '../sql/statement.js';
import type { TableClock } from '../time/table-clock.js';
import { dataSourceOf } from './data-source-of.js';
import { enterTransaction, isOpen } from './open-transactions.js';
import { TransactionCalls } from './transaction-calls.js';
import type { TransactionEnds } from './transaction-ends.js';

interface TransactionProviderOptions {
  readonly name: string;
  /** An import gives the table another one. */
  readonly dialect: () => Dialect;
  /** Called with the base of the feed that a statement has found. */
  readonly useBase: (base: FeedBase) => void;
  readonly clock: TableClock;
  /** Whether the table's rows are under row-level security. */
  readonly isSecured: boolean;
  /** The application's data source, if the provider has it: only its transactions can be joined. */
  readonly source: DataSource | undefined;
  readonly ends: TransactionEnds | undefined;
}

/**
 * Calls are neither grouped nor retried. An error leaves the transaction as it was before the
 * batch; if it is thrown on, `dataSource.transaction` rolls back.
 */
export class TransactionProvider implements StorageProvider {
  readonly name: string;
  readonly features: ProviderFeatures;
  /** What the transaction has written is not in the feed yet: it is read outside. */
  readonly feed: () => Promise<never>;
  readonly administration: StorageAdministration;
  readonly #manager: EntityManager;
  readonly #reader: Reader;
  readonly #dialect: () => Dialect;
  readonly #committerFor: (dialect: Dialect) => TransactionCommitter;
  #committer: { readonly dialect: Dialect; readonly committer: TransactionCommitter } | undefined;
  readonly #clock: TableClock;
  readonly #isSecured: boolean;
  readonly #ends: TransactionEnds | undefined;
  /** The last statement of the current call. */
  #last: Promise<unknown> = Promise.resolve();

  /** `INVALID_OPTION` when this is no open transaction of the data source. */
  constructor(transaction: object, options: TransactionProviderOptions) {
    const { name, dialect, useBase, clock, source, isSecured, ends } = options;
    if (source === undefined)
      throw invalidOption(
        'within needs a provider with the dataSource option; this one has connections of its own.',
      );
    this.#dialect = dialect;
    this.#clock = clock;
    this.#isSecured = isSecured;
    this.#ends = ends;
    this.#manager = managerOf(transaction, source);
    enterTransaction(this.#manager);
    this.name = `${name} in a transaction`;
    this.features = {
      durable: 'fsync',
      shared: true,
      staleReads: false,
      coalesce: false,
      expiry: 'exact',
      scan: 'ordered',
      clock: clock.kind === 'server' ? 'own' : 'replaceable',
      feed: true,
      readsInScans: true,
    };
    const refuse = async (): Promise<never> => await Promise.reject(outside());
    this.administration = {
      databases: refuse,
      spaces: refuse,
      export: () => {
        throw outside();
      },
      import: refuse,
      drop: refuse,
    };
    this.feed = refuse;
    const time = clock.parameters;
    // one after the other, on one connection
    const run = async (
      statement: Statement,
      parameters: readonly unknown[],
      checks: readonly Framing[] = [],
    ): Promise<readonly Columns[]> => {
      const rows = this.#last.then(async () => await this.#send(statement, parameters, checks));
      this.#last = rows.catch(() => undefined);
      return await rows;
    };
    this.#reader = new Reader({
      name: this.name,
      dialect: dialect(),
      time,
      run: async (statement, parameters) => await run(statement, parameters),
    });
    const present = async (): Promise<TransactionCommitter> => {
      useBase(
        await presentFeedBase({ run: (statement, parameters) => run(statement, parameters) }, dialect()),
      );
      return this.#presentCommitter();
    };
    this.#committerFor = (of) =>
      new TransactionCommitter({ name: this.name, run, dialect: of, present, time });
  }

  async open(): Promise<void> {
    await Promise.reject(outside());
  }

  async close(): Promise<void> {
    // the transaction is the caller's
  }

  async read(addresses: readonly Address[], options: ProviderReadOptions = {}): Promise<ReadResult> {
    return await this.#call(
      'A read',
      'none',
      options.signal,
      async () => await this.#read(addresses, options),
    );
  }

  async scan(
    ranges: readonly ScanRange[],
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<readonly ScanPage[]> {
    return await this.#call('A scan', 'none', options.signal, async () => await this.#scan(ranges));
  }

  async count(
    range: CountRange,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<number> {
    return await this.#call('A count', 'none', options.signal, async () => await this.#count(range));
  }

  async commit(
    batches: readonly Batch[],
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<readonly CommitResult[]> {
    const commit = async (): Promise<readonly CommitResult[]> => {
      await this.#client();
      return await this.#commit(batches);
    };
    const results = await this.#call('A commit', 'unknown', options.signal, commit);
    this.#clock.stored();
    return results;
  }

  async #read(addresses: readonly Address[], options: ProviderReadOptions): Promise<ReadResult> {
    if (!this.#isSecured || addresses.length === 0) return await this.#reader.read(addresses, options);
    const each = async (database: string, some: readonly Address[]): Promise<ReadResult> =>
      await inScope({ database }, async () => await this.#reader.read(some, options));
    return await readByDatabase(addresses, each);
  }

  #scan(ranges: readonly ScanRange[]): Promise<readonly ScanPage[]> {
    const scanOne = (range: ScanRange): Promise<ScanPage> => this.#reader.scan(range);
    return Promise.all(
      ranges.map((range) =>
        this.#isSecured ? inScope({ database: range.database }, () => scanOne(range)) : scanOne(range),
      ),
    );
  }

  #count(range: CountRange): Promise<number> {
    const count = (): Promise<number> => this.#reader.count(range);
    return this.#isSecured ? inScope({ database: range.database }, count) : count();
  }

  afterCommit(work: () => void, name?: string): void {
    const { queryRunner } = this.#manager;
    if (queryRunner !== undefined) this.#ends?.afterCommit(queryRunner, work, name);
  }

  /** One after the other: each batch may need a savepoint. */
  async #commit(batches: readonly Batch[]): Promise<readonly CommitResult[]> {
    const committer = this.#presentCommitter();
    if (!this.#isSecured) return await committer.commit(batches);
    const results: CommitResult[] = [];
    for (const batch of batches)
      results.push(
        ...(await inScope({ database: batch.database }, async () => await committer.commit([batch]))),
      );
    return results;
  }

  /** Stores that are kept last longer than a transaction, and than the base of the feed. */
  #presentCommitter(): TransactionCommitter {
    const dialect = this.#dialect();
    if (this.#committer?.dialect !== dialect)
      this.#committer = { dialect, committer: this.#committerFor(dialect) };
    return this.#committer.committer;
  }

  async sweep(): Promise<number> {
    return await Promise.reject(outside());
  }

  async #call<R>(
    what: string,
    effect: 'none' | 'unknown',
    signal: AbortSignal | undefined,
    work: () => Promise<R>,
  ): Promise<R> {
    return await this.#calls().run({ what, effect, signal }, work);
  }

  async #send(
    { text }: Statement,
    values: readonly unknown[],
    checks: readonly Framing[],
  ): Promise<readonly Columns[]> {
    const client = await this.#client();
    const scope = this.#isSecured ? currentScope() : undefined;
    const assertPresent = (): void => this.#calls().assertPresent();
    return await sendBehindSavepoint(client, { text, values, checks, scope, assertPresent }).catch(
      (error: unknown) => {
        // it has ended, and TypeORM does not know yet
        throw refusalOf(error) === '25P01' ? noTransaction() : error;
      },
    );
  }

  #calls(): TransactionCalls {
    const { queryRunner } = this.#manager;
    if (queryRunner === undefined) throw noTransaction();
    return TransactionCalls.of(queryRunner);
  }

  /** The connection of the transaction; `INVALID_OPTION` once it has ended. */
  async #client(): Promise<Client> {
    const runner = this.#manager.queryRunner;
    if (runner === undefined || !isOpen(this.#manager)) throw noTransaction();
    return (await runner.connect()) as Client;
  }
}

const outside = (): Error =>
  storageError('STORAGE_UNSUPPORTED', 'This call belongs to the storage itself, not to a transaction.', {});
const noTransaction = (): Error =>
  invalidOption(
    'within takes the EntityManager of an open transaction: the one that dataSource.transaction passes to its callback.',
  );

function managerOf(transaction: object, source: DataSource): EntityManager {
  if (!isOpen(transaction as EntityManager)) throw noTransaction();
  if (dataSourceOf(transaction) !== source)
    throw invalidOption(
      'within takes a transaction of the dataSource of the provider; this is one of another data source.',
    );
  return transaction as EntityManager;
}
