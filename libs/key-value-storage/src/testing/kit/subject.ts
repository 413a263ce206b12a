/**
 * What a clause works on: a fresh provider, its clock, and the few verbs in which clauses are
 * written.
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
import type { Abilities } from './abilities.js';
import { ManualClock } from './manual-clock.js';
import { put } from './batches.js';

type Awaitable<T> = T | Promise<T>;

export interface CreateOptions {
  /** What the provider should run on, where it can. */
  readonly clock: ManualClock;
  /**
   * A name that no other test uses, for a directory or a database. The same name again means the
   * same data.
   */
  readonly location: string;
}

/**
 * How the kit gets at a provider: `create` is called for each clause, and again with the same
 * `location` to look at the same data.
 */
export interface ProviderUnderTest {
  create(options: CreateOptions): Awaitable<StorageProvider>;
  /** Removes what a location holds. */
  dispose?(location: string): Awaitable<void>;
  /**
   * Begins a transaction over the data of a location, which is open: what `within` takes, and how
   * it ends. For a provider that claims `within`.
   */
  transaction?(location: string): Awaitable<OpenTransaction>;
  /**
   * Spoils what a closed provider has stored, in the middle: some of what was acknowledged cannot
   * be read back.
   */
  damage?(location: string): Awaitable<void>;
}

/** A transaction of the engine that a clause holds open. */
export interface OpenTransaction {
  readonly transaction: object;
  commit(): Promise<void>;
  rollback(): Promise<void>;
}

/** A batch as clauses write it. */
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
  readonly #background = new Set<Promise<unknown>>();
  readonly #held = new Set<OpenTransaction>();
  readonly #asked = { clock: false, location: false };
  #provider: StorageProvider | undefined;

  constructor(under: ProviderUnderTest) {
    this.#under = under;
  }

  /** `open`: for whoever opens providers in another way. */
  async start(
    open: (provider: StorageProvider) => Promise<void> = (provider) => provider.open(),
  ): Promise<void> {
    this.#provider = await this.create();
    await open(this.provider);
    this.#opened.add(this.provider);
  }

  /**
   * Work that goes on while the clause looks at something else: it is waited for, also when the
   * clause fails before it does.
   */
  inBackground<R>(work: Promise<R>): Promise<R> {
    work.catch(() => undefined);
    this.#background.add(work);
    return work;
  }

  /** Closes everything, and takes away what it stored. */
  async finish(): Promise<void> {
    for (const database of this.#databases) await this.provider.administration.drop(database);
    await this.close();
  }

  async close(): Promise<void> {
    for (const { rollback } of this.#held) await rollback().catch(() => undefined);
    await Promise.allSettled(this.#background);
    for (const provider of this.#opened) {
      await provider.close();
      const dispose = (provider as Partial<AsyncDisposable>)[Symbol.asyncDispose];
      if (dispose !== undefined) await dispose.call(provider);
    }
    await this.#under.dispose?.(this.#location);
  }

  get provider(): StorageProvider {
    if (this.#provider === undefined) throw new Error('The subject has not begun.');
    return this.#provider;
  }

  get abilities(): Abilities {
    const { features, hints, within } = this.provider;
    return {
      features,
      hints: hints !== undefined,
      within: within !== undefined,
      transactions: within !== undefined && this.#under.transaction !== undefined,
      clock: this.#asked.clock && features.clock === 'replaceable',
      location: this.#asked.location,
      damage: this.#under.damage !== undefined,
    };
  }

  // ─── instances

  /** A provider over this subject's data, not opened. */
  async create(): Promise<StorageProvider> {
    const { clock } = this;
    const location = this.#location;
    const asked = this.#asked;
    return await this.#under.create({
      get clock() {
        asked.clock = true;
        return clock;
      },
      get location() {
        asked.location = true;
        return location;
      },
    });
  }

  async open(provider: StorageProvider): Promise<StorageProvider> {
    await provider.open();
    this.#opened.add(provider);
    return provider;
  }

  /** Closes it, and opens the same data again: with a new instance where `create` can make one. */
  async reopen(
    meanwhile: () => Awaitable<void> = () => undefined,
    open: (provider: StorageProvider) => Promise<void> = (provider) => provider.open(),
  ): Promise<void> {
    await this.provider.close();
    await meanwhile();
    if (this.#asked.location) this.#provider = await this.create();
    await open(this.provider);
    this.#opened.add(this.provider);
  }

  /** A second instance over the same data, opened. */
  async openSecond(): Promise<StorageProvider> {
    return await this.open(await this.create());
  }

  /**
   * A transaction of the engine, the provider inside it, and how it ends. One that a clause leaves
   * open is rolled back.
   */
  async transaction(): Promise<OpenTransaction & { readonly within: StorageProvider }> {
    const held = await this.#under.transaction?.(this.#location);
    const within = held && this.provider.within?.(held.transaction);
    if (held === undefined || within === undefined) throw new Error('The provider claims no transactions.');
    this.#held.add(held);
    return {
      ...held,
      within,
      commit: () => this.#letGo(held).commit(),
      rollback: () => this.#letGo(held).rollback(),
    };
  }

  #letGo(held: OpenTransaction): OpenTransaction {
    this.#held.delete(held);
    return held;
  }

  /** What is stored cannot be opened any more: there is nothing to tidy up with. */
  forgetDatabases(): void {
    this.#databases.clear();
  }

  async damage(): Promise<void> {
    await this.#under.damage?.(this.#location);
  }

  // ─── addresses and batches

  /** A database of this clause alone. */
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
    assert.equal(results.length, 1, 'one batch has one answer');
    return results[0] as CommitResult;
  }

  /** Commits what must succeed. */
  async mustCommit(
    batch: BatchInput,
    provider = this.provider,
  ): Promise<CommitResult & { readonly outcome: 'committed' }> {
    const result = await this.commit(batch, provider);
    if (result.outcome === 'failed') throw result.error;
    if (result.outcome !== 'committed')
      return assert.fail(`a batch that nothing stands against was answered with '${result.outcome}'`);
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
    assert.equal(rows.length, 1, 'one address has one answer');
    return rows[0];
  }

  /** The JSON text at an address. */
  async readText(address: Address, provider = this.provider): Promise<string | undefined> {
    const row = await this.readRow(address, provider);
    return row?.value.kind === 'json'
      ? row.value.text
      : row && assert.fail(`JSON was stored, but '${row.value.kind}' came back`);
  }

  async readNumber(address: Address, provider = this.provider): Promise<bigint | undefined> {
    const row = await this.readRow(address, provider);
    return row?.value.kind === 'number'
      ? row.value.number
      : row && assert.fail(`a number was stored, but '${row.value.kind}' came back`);
  }

  async scanPage(range: Partial<ScanRange> = {}, provider = this.provider): Promise<ScanPage> {
    const { database, container, entity } = this.address('');
    const pages = await provider.scan([{ database, container, entity, limit: 1_000, ...range }]);
    assert.equal(pages.length, 1, 'one range has one page');
    return pages[0] as ScanPage;
  }

  /** The keys of a range, over as many pages as it takes. */
  async scanKeys(range: Partial<ScanRange> = {}): Promise<readonly string[]> {
    const keys: string[] = [];
    for (let after = range.after, more = true; more;) {
      const page = await this.scanPage({ ...range, ...(after === undefined ? {} : { after }) });
      keys.push(...page.rows.map(({ key }) => key));
      more = page.more;
      assert.ok(!more || page.rows.length > 0, 'an empty page says that more rows come');
      after = keys.at(-1);
      assert.ok(keys.length < 100_000, 'the pages never end');
    }
    return keys;
  }
}

/**
 * Runs a clause on a subject of its own. Answers false where the provider does not claim what the
 * clause needs.
 */
export async function runOnSubject<S extends Pick<Subject, 'start' | 'finish' | 'close' | 'abilities'>>(
  subject: S,
  isMeant: (abilities: Abilities) => boolean,
  run: (subject: S) => Promise<void>,
): Promise<boolean> {
  let done = false;
  try {
    await subject.start();
    const meant = isMeant(subject.abilities);
    if (meant) await run(subject);
    done = true;
    return meant;
  } finally {
    // after a failure it is the failure that counts
    if (done) await subject.finish();
    else await subject.close().catch(() => undefined);
  }
}

/** What a provider can do, as the kit sees it. */
export async function abilitiesOf(under: ProviderUnderTest): Promise<Abilities> {
  const subject = new Subject(under);
  let abilities: Abilities | undefined;
  await runOnSubject(
    subject,
    (seen) => {
      abilities = seen;
      return false;
    },
    async () => undefined,
  );
  return abilities as unknown as Abilities;
}
