/** What a clause works on: a fresh provider, its clock, and the few verbs in which clauses are written. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import {
  isStorageError,
  versionSource,
  type Address,
  type Batch,
  type Change,
  type Check,
  type CommitResult,
  type Expected,
  type Row,
  type RowAddress,
  type ScanPage,
  type ScanRange,
  type StorageErrorCode,
  type StorageProvider,
  type StoredValue,
  type TimeToLive,
} from '../core/index.js';
import type { Abilities } from './clause.js';
import { ManualClock } from './manual-clock.js';

type Awaitable<T> = T | Promise<T>;

export interface CreateOptions {
  /** What the provider should run on, where it can. */
  readonly clock: ManualClock;
  /** A name that no other test uses, for a directory or a database. The same name again means the same data. */
  readonly place: string;
}

/** How the kit gets at a provider: `create` is called for each clause, and again with the same `place` to look at the same data. */
export interface ProviderUnderTest {
  create(options: CreateOptions): Awaitable<StorageProvider>;
  /** Removes what a place holds. */
  dispose?(place: string): Awaitable<void>;
  /** Spoils what a closed provider has stored, in the middle: some of what was acknowledged cannot be read back. */
  damage?(place: string): Awaitable<void>;
}

/** A batch as clauses write it. */
export interface GivenBatch {
  readonly database?: string;
  readonly version?: string;
  readonly checks?: readonly Check[];
  readonly changes?: readonly Change[];
}

export const json = (text: string): StoredValue => ({ kind: 'json', text });
export const number = (value: bigint | number): StoredValue => ({ kind: 'number', number: BigInt(value) });
export const bytes = (...values: number[]): StoredValue => ({ kind: 'bytes', bytes: Uint8Array.from(values) });

export class Subject {
  readonly clock = new ManualClock();
  readonly #place = `kit-${randomUUID()}`;
  readonly #under: ProviderUnderTest;
  readonly #nextVersion = versionSource();
  readonly #opened = new Set<StorageProvider>();
  readonly #databases = new Set<string>();
  readonly #asked = { clock: false, place: false };
  #provider: StorageProvider | undefined;

  constructor(under: ProviderUnderTest) {
    this.#under = under;
  }

  async begin(): Promise<void> {
    this.#provider = await this.create();
    await this.open(this.provider);
  }

  /** Closes everything, and takes away what it stored. */
  async end(): Promise<void> {
    for (const database of this.#databases) await this.provider.administration.drop(database);
    await this.abandon();
  }

  async abandon(): Promise<void> {
    for (const provider of this.#opened) {
      await provider.close();
      const dispose = (provider as Partial<AsyncDisposable>)[Symbol.asyncDispose];
      if (dispose !== undefined) await dispose.call(provider);
    }
    await this.#under.dispose?.(this.#place);
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
      clock: this.#asked.clock && features.clock === 'replaceable',
      place: this.#asked.place,
      damage: this.#under.damage !== undefined,
    };
  }

  // ─── instances

  /** A provider over this subject's data, not opened. */
  async create(): Promise<StorageProvider> {
    const { clock } = this;
    const place = this.#place;
    const asked = this.#asked;
    return await this.#under.create({
      get clock() {
        asked.clock = true;
        return clock;
      },
      get place() {
        asked.place = true;
        return place;
      },
    });
  }

  async open(provider: StorageProvider): Promise<StorageProvider> {
    await provider.open();
    this.#opened.add(provider);
    return provider;
  }

  /** Closes it, and opens the same data again: with a new instance where `create` can make one. */
  async reopen(meanwhile: () => Awaitable<void> = () => undefined): Promise<void> {
    await this.provider.close();
    await meanwhile();
    if (this.#asked.place) this.#provider = await this.create();
    await this.open(this.provider);
  }

  /** A second instance over the same data, opened. */
  async second(): Promise<StorageProvider> {
    return await this.open(await this.create());
  }

  async damage(): Promise<void> {
    await this.#under.damage?.(this.#place);
  }

  // ─── addresses and batches

  /** A database of this clause alone. */
  database(name = 'main'): string {
    const database = `tenant:${this.#place}.${name}`;
    this.#databases.add(database);
    return database;
  }

  address(key: string, place: Partial<Address> = {}): Address {
    return { database: this.database(), container: 'state:kit', entity: 'thing', key, ...place };
  }

  version(): string {
    return this.#nextVersion();
  }

  batch({ database = this.database(), version = this.version(), checks = [], changes = [] }: GivenBatch): Batch {
    return { database, version, checks, changes };
  }

  async commit(batch: GivenBatch, provider = this.provider): Promise<CommitResult> {
    const results = await provider.commit([this.batch(batch)]);
    assert.equal(results.length, 1, 'one batch has one answer');
    return results[0] as CommitResult;
  }

  /** Commits what must succeed. */
  async must(batch: GivenBatch, provider = this.provider): Promise<CommitResult & { readonly outcome: 'committed' }> {
    const result = await this.commit(batch, provider);
    if (result.outcome === 'failed') throw result.error;
    if (result.outcome !== 'committed') return assert.fail(`a batch that nothing stands against was answered with '${result.outcome}'`);
    return result;
  }

  /** Puts one row, and answers its version. */
  async put(address: Address, value: string | StoredValue, ttl: TimeToLive = 'never'): Promise<string> {
    const version = this.version();
    await this.must({ database: address.database, version, changes: [put(address, value, ttl)] });
    return version;
  }

  // ─── reading

  async read(address: Address, provider = this.provider): Promise<Row | undefined> {
    const { rows } = await provider.read([address]);
    assert.equal(rows.length, 1, 'one address has one answer');
    return rows[0];
  }

  /** The JSON text at an address. */
  async text(address: Address, provider = this.provider): Promise<string | undefined> {
    const row = await this.read(address, provider);
    return row?.value.kind === 'json' ? row.value.text : row && assert.fail(`JSON was stored, but '${row.value.kind}' came back`);
  }

  async number(address: Address, provider = this.provider): Promise<bigint | undefined> {
    const row = await this.read(address, provider);
    return row?.value.kind === 'number' ? row.value.number : row && assert.fail(`a number was stored, but '${row.value.kind}' came back`);
  }

  async page(range: Partial<ScanRange> = {}, provider = this.provider): Promise<ScanPage> {
    const { database, container, entity } = this.address('');
    const pages = await provider.scan([{ database, container, entity, limit: 1_000, ...range }]);
    assert.equal(pages.length, 1, 'one range has one page');
    return pages[0] as ScanPage;
  }

  /** The keys of a range, over as many pages as it takes. */
  async keys(range: Partial<ScanRange> = {}): Promise<readonly string[]> {
    const keys: string[] = [];
    for (let after = range.after, more = true; more; ) {
      const page = await this.page({ ...range, ...(after === undefined ? {} : { after }) });
      keys.push(...page.rows.map(({ key }) => key));
      more = page.more;
      assert.ok(!more || page.rows.length > 0, 'an empty page says that more rows come');
      after = keys.at(-1);
    }
    return keys;
  }
}

// ─── words

export const rowAddress = ({ container, entity, key }: RowAddress): RowAddress => ({ container, entity, key });

export const put = (address: RowAddress, value: string | StoredValue, ttl: TimeToLive = 'never'): Change => ({
  kind: 'put',
  address: rowAddress(address),
  value: typeof value === 'string' ? json(value) : value,
  ttl,
});

export const remove = (address: RowAddress): Change => ({ kind: 'delete', address: rowAddress(address) });

export const renew = (address: RowAddress, ttlMs: number): Change => ({ kind: 'renew', address: rowAddress(address), ttlMs });

type NumericOptions = { readonly floor?: bigint; readonly ceiling?: bigint; readonly ttlMs?: number };
const numeric =
  (kind: 'sum' | 'min' | 'max') =>
  (address: RowAddress, operand: bigint | number, options: NumericOptions = {}): Change => ({
    kind,
    address: rowAddress(address),
    operand: BigInt(operand),
    ...options,
  });
export const sum = numeric('sum');
export const min = numeric('min');
export const max = numeric('max');

/** A check: a version, a word, or a number that the row must be. */
export const check = (address: RowAddress, expected: string | bigint): Check => ({ address: rowAddress(address), expected: expectedOf(expected) });

function expectedOf(expected: string | bigint): Expected {
  if (typeof expected === 'bigint') return { number: expected };
  return expected === 'absent' || expected === 'present' ? expected : { version: expected };
}

/** Runs `count` rivals at once. */
export const race = <R>(count: number, run: (index: number) => Promise<R>): Promise<R[]> => Promise.all(Array.from({ length: count }, (_, index) => run(index)));

/** That a promise is rejected with this code; answers the error. `call` must not throw. */
export async function rejects(code: StorageErrorCode, what: string, call: () => Promise<unknown>): Promise<Error & { effect: 'none' | 'unknown' }> {
  let answer: Promise<unknown>;
  try {
    answer = call();
  } catch (error) {
    return assert.fail(`${what} threw (${String(error)}) where it has to answer with a rejected promise`);
  }
  return await answer.then(
    () => assert.fail(`${what} was answered, where ${code} is due`),
    (error: unknown) => (isStorageError(error, code) ? error : assert.fail(`${what} was rejected with ${String(error)}, where ${code} is due`)),
  );
}

/** That a call throws at once with this code. */
export function throws(code: StorageErrorCode, what: string, call: () => unknown): Error & { effect: 'none' | 'unknown' } {
  try {
    call();
  } catch (error) {
    return isStorageError(error, code) ? error : assert.fail(`${what} threw ${String(error)}, where ${code} is due`);
  }
  return assert.fail(`${what} was allowed, where ${code} is due`);
}

/** How many of the answers are of each outcome. */
export function outcomes(results: readonly CommitResult[]): Partial<Record<CommitResult['outcome'], number>> {
  const counts: Partial<Record<CommitResult['outcome'], number>> = {};
  for (const { outcome } of results) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
}

/** Runs a clause on a subject of its own. Answers false where the provider does not claim what the clause needs. */
export async function onSubject(under: ProviderUnderTest, isMeant: (abilities: Abilities) => boolean, run: (subject: Subject) => Promise<void>): Promise<boolean> {
  const subject = new Subject(under);
  let done = false;
  try {
    await subject.begin();
    const meant = isMeant(subject.abilities);
    if (meant) await run(subject);
    done = true;
    return meant;
  } finally {
    // after a failure it is the failure that counts
    if (done) await subject.end();
    else await subject.abandon().catch(() => undefined);
  }
}
