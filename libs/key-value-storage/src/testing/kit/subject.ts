/**
 * The subject of a clause: a new provider, its clock, and functions to write and read rows.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { StorageProvider } from '../../core.js';
import {
  versionSource,
  type Address,
  type Batch,
  type Change,
  type Check,
  type CommitResult,
  type Row,
  type ScanPage,
  type ScanRange,
  type StoredValue,
  type TimeToLive,
} from '../../provider.js';
import { PendingWork } from '../../core/base/pending-work.js';
import type { Abilities } from './abilities.js';
import { ManualClock } from './manual-clock.js';
import { put } from './batches.js';

type Awaitable<T> = T | Promise<T>;

export interface CreateOptions {
  /** The clock for the provider, if it has `clock: 'replaceable'`. */
  readonly clock: ManualClock;
  /**
   * A name for a directory or a database that no other test uses. The same name means the same
   * data.
   */
  readonly location: string;
}

/**
 * How the kit creates a provider. `create` is called for each clause, and again with the same
 * `location` to open the same data.
 */
export interface ProviderUnderTest {
  create(options: CreateOptions): Awaitable<StorageProvider>;
  /** Removes the data of a location. */
  dispose?(location: string): Awaitable<void>;
  /**
   * Begins a transaction on the data of an open location. For a provider that has `within`.
   */
  transaction?(location: string): Awaitable<OpenTransaction>;
  /**
   * Damages the data of a closed provider in the middle, so that some acknowledged commits cannot
   * be read.
   */
  damage?(location: string): Awaitable<void>;
}

/** An open transaction of the engine. */
export interface OpenTransaction {
  readonly transaction: object;
  commit(): Promise<void>;
  rollback(): Promise<void>;
}

/** A batch with optional parts; the subject adds the others. */
interface BatchInput {
  readonly database?: string;
  readonly version?: string;
  readonly checks?: readonly Check[];
  readonly changes?: readonly Change[];
}

export class Subject {
  readonly clock = new ManualClock();
  readonly #location = `kit-${randomUUID()}`;
  readonly #under: ProviderUnderTest;
  readonly #nextVersion = versionSource();
  readonly #opened = new Set<StorageProvider>();
  readonly #databases = new Set<string>();
  readonly #background = new PendingWork();
  readonly #transactions = new Set<OpenTransaction>();
  /** The options that `create` has read. */
  readonly #used = { clock: false, location: false };
  #provider: StorageProvider | undefined;

  constructor(under: ProviderUnderTest) {
    this.#under = under;
  }

  /** `open` replaces the call of `provider.open()`. */
  async start(
    open: (provider: StorageProvider) => Promise<void> = (provider) => provider.open(),
  ): Promise<void> {
    this.#provider = await this.create();
    await open(this.provider);
    this.#opened.add(this.provider);
  }

  /**
   * Work that runs while the clause continues. `close` waits for it, also when the clause fails.
   */
  inBackground<R>(work: Promise<R>): Promise<R> {
    return this.#background.track(work);
  }

  /** Closes everything, and removes the stored data. */
  async finish(): Promise<void> {
    for (const database of this.#databases) await this.provider.administration.drop(database);
    await this.close();
  }

  async close(): Promise<void> {
    for (const { rollback } of this.#transactions) await rollback().catch(() => undefined);
    await this.#background.settled();
    for (const provider of this.#opened) {
      await provider.close();
      const dispose = (provider as Partial<AsyncDisposable>)[Symbol.asyncDispose];
      if (dispose !== undefined) await dispose.call(provider);
    }
    await this.#under.dispose?.(this.#location);
  }

  get provider(): StorageProvider {
    if (this.#provider === undefined) throw new Error('The subject is not started.');
    return this.#provider;
  }

  get abilities(): Abilities {
    const { features, hints, within, count } = this.provider;
    return {
      features,
      hints: hints !== undefined,
      count: count !== undefined,
      within: within !== undefined,
      transactions: within !== undefined && this.#under.transaction !== undefined,
      clock: this.#used.clock && features.clock === 'replaceable',
      location: this.#used.location,
      damage: this.#under.damage !== undefined,
    };
  }

  // ─── instances

  /** A provider over this subject's data, not opened. */
  async create(): Promise<StorageProvider> {
    const { clock } = this;
    const location = this.#location;
    const used = this.#used;
    return await this.#under.create({
      get clock() {
        used.clock = true;
        return clock;
      },
      get location() {
        used.location = true;
        return location;
      },
    });
  }

  async open(
    provider: StorageProvider,
    open: (provider: StorageProvider) => Promise<void> = (it) => it.open(),
  ): Promise<StorageProvider> {
    await open(provider);
    this.#opened.add(provider);
    return provider;
  }

  /**
   * Closes the provider, and opens the same data again, with a new instance if it has a location.
   */
  async reopen(
    whileClosed: () => Awaitable<void> = () => undefined,
    open: (provider: StorageProvider) => Promise<void> = (provider) => provider.open(),
  ): Promise<void> {
    await this.provider.close();
    await whileClosed();
    if (this.#used.location) this.#provider = await this.create();
    await open(this.provider);
    this.#opened.add(this.provider);
  }

  /** A second instance over the same data, opened. */
  async openSecond(open?: (provider: StorageProvider) => Promise<void>): Promise<StorageProvider> {
    return await this.open(await this.create(), open);
  }

  /**
   * A transaction of the engine, with the provider inside it. `close` rolls it back if it is still
   * open.
   */
  async transaction(): Promise<OpenTransaction & { readonly within: StorageProvider }> {
    const open = await this.#under.transaction?.(this.#location);
    const within = open && this.provider.within?.(open.transaction);
    if (open === undefined || within === undefined) throw new Error('The provider has no transactions.');
    this.#transactions.add(open);
    const end = (): OpenTransaction => {
      this.#transactions.delete(open);
      return open;
    };
    return { ...open, within, commit: () => end().commit(), rollback: () => end().rollback() };
  }

  /** For data that cannot be opened any more: `finish` drops no database. */
  forgetDatabases(): void {
    this.#databases.clear();
  }

  async damage(): Promise<void> {
    await this.#under.damage?.(this.#location);
  }

  // ─── addresses and batches

  /** A database that no other clause uses. */
  database(name = 'main'): string {
    const database = `tenant:${this.#location}.${name}`;
    this.#databases.add(database);
    return database;
  }

  address(key: string, parts: Partial<Address> = {}): Address {
    return { database: this.database(), container: 'state:kit', entity: 'thing', key, ...parts };
  }

  nextVersion(): string {
    return this.#nextVersion();
  }

  batch({
    database = this.database(),
    version = this.nextVersion(),
    checks = [],
    changes = [],
  }: BatchInput): Batch {
    return { database, version, checks, changes };
  }

  async commit(batch: BatchInput, provider = this.provider): Promise<CommitResult> {
    const results = await provider.commit([this.batch(batch)]);
    assert.equal(results.length, 1, 'one batch must have one result');
    return results[0] as CommitResult;
  }

  /** Commits a batch, and fails unless it is committed. */
  async mustCommit(
    batch: BatchInput,
    provider = this.provider,
  ): Promise<CommitResult & { readonly outcome: 'committed' }> {
    const result = await this.commit(batch, provider);
    if (result.outcome === 'failed') throw result.error;
    if (result.outcome !== 'committed')
      return assert.fail(`the batch must be committed; got '${result.outcome}'`);
    return result;
  }

  /** Puts one row, and returns its version. */
  async putRow(address: Address, value: string | StoredValue, ttl: TimeToLive = 'never'): Promise<string> {
    const version = this.nextVersion();
    await this.mustCommit({ database: address.database, version, changes: [put(address, value, ttl)] });
    return version;
  }

  /** Puts one row, and advances the clock until it has just expired. */
  async putExpiredRow(
    key = 'gone',
    value: string | StoredValue = '"old"',
  ): Promise<{ readonly address: Address; readonly version: string }> {
    const address = this.address(key);
    const version = await this.putRow(address, value, 1_000);
    await this.clock.advance(1_000);
    return { address, version };
  }

  // ─── reading

  async readRow(address: Address, provider = this.provider): Promise<Row | undefined> {
    const { rows } = await provider.read([address]);
    assert.equal(rows.length, 1, 'one address must have one result');
    return rows[0];
  }

  /** The JSON text at an address. */
  async readText(address: Address, provider = this.provider): Promise<string | undefined> {
    const row = await this.readRow(address, provider);
    return row?.value.kind === 'json'
      ? row.value.text
      : row && assert.fail(`the value must be JSON; got '${row.value.kind}'`);
  }

  async readNumber(address: Address, provider = this.provider): Promise<bigint | undefined> {
    const row = await this.readRow(address, provider);
    return row?.value.kind === 'number'
      ? row.value.number
      : row && assert.fail(`the value must be a number; got '${row.value.kind}'`);
  }

  async scanPage(range: Partial<ScanRange> = {}, provider = this.provider): Promise<ScanPage> {
    const { database, container, entity } = this.address('');
    const pages = await provider.scan([{ database, container, entity, limit: 1_000, ...range }]);
    assert.equal(pages.length, 1, 'one range must have one page');
    return pages[0] as ScanPage;
  }

  /** The keys of a range, over all its pages. */
  async scanKeys(range: Partial<ScanRange> = {}): Promise<readonly string[]> {
    const keys: string[] = [];
    for (let after = range.after, more = true; more;) {
      const page = await this.scanPage({ ...range, ...(after === undefined ? {} : { after }) });
      keys.push(...page.rows.map(({ key }) => key));
      more = page.more;
      assert.ok(!more || page.rows.length > 0, 'an empty page has `more`');
      after = keys.at(-1);
      assert.ok(keys.length < 100_000, 'the pages never end');
    }
    return keys;
  }
}

/**
 * Runs a clause on a new subject. Returns false if the provider does not have what the clause
 * requires.
 */
export async function runOnSubject<S extends Pick<Subject, 'start' | 'finish' | 'close' | 'abilities'>>(
  subject: S,
  isApplicable: (abilities: Abilities) => boolean,
  run: (subject: S) => Promise<void>,
): Promise<boolean> {
  let done = false;
  try {
    await subject.start();
    const applies = isApplicable(subject.abilities);
    if (applies) await run(subject);
    done = true;
    return applies;
  } finally {
    // after a failure, an error of the cleanup must not replace it
    if (done) await subject.finish();
    else await subject.close().catch(() => undefined);
  }
}

/** The abilities of a provider and its test set-up. */
export async function abilitiesOf(under: ProviderUnderTest): Promise<Abilities> {
  const subject = new Subject(under);
  let abilities: Abilities | undefined;
  await runOnSubject(
    subject,
    (found) => {
      abilities = found;
      return false;
    },
    async () => undefined,
  );
  return abilities as unknown as Abilities;
}
