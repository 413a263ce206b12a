/**
 * A commit that changes entries of states with indexes: the changes of index rows are added to the
 * same batch. The entries as they were are read before, to know their index rows, and are checked.
 * So a write without a condition is a read and a commit, repeated where another writer came in
 * between; `add` needs no read.
 *
 * Until an index is ready, an entry may not have its row yet, and a build may write it at the same
 * time. A batch that would delete or renew it would not see it: its view may be older, that of a
 * whole transaction above all. So the row must be absent then, which the batch checks.
 */
import { systemClock } from '../base/clock.js';
import { isStorageError, storageError } from '../base/errors.js';
import { inspect } from '../base/inspect.js';
import { conflictError, type ConflictedBatch, type Contribution } from '../commit/commit.js';
import type { StorageAccess } from '../commit/storage-access.js';
import { retrying } from '../contention/retry-on-conflict.js';
import type { Key } from '../base/key.js';
import type { ResolvedIndex } from './index-definition.js';
import { IndexValue, putIndexRow, ttlInIndex } from './index-row.js';
import { keysOfValue, rowsByKeys, rowsOfEntries } from './rows-of-entries.js';
import type { IndexStatuses } from './index-status.js';
import type { ResolvedState } from './state-definition.js';
import { rowNameOf } from '../port/row-name.js';
import type {
  Address,
  Change,
  Check,
  Expected,
  ProviderReadOptions,
  Row,
  RowAddress,
  StoredValue,
} from '../port/storage-provider.js';
import type { ValueCodec } from './value-codec.js';

/** A state with indexes, as commits need it. */
export interface IndexedState {
  readonly state: ResolvedState;
  readonly codec: ValueCodec<unknown>;
  readonly indexes: readonly ResolvedIndex[];
  readonly statuses: IndexStatuses<unknown>;
}

/** The entries of a commit, and what is known of them. */
export interface IndexedRows {
  /** The indexed state of a row, if it is one. */
  readonly indexedState: (address: RowAddress) => IndexedState | undefined;
  /** Entries that the caller has read already, by the name of their row. */
  readonly known?: ReadonlyMap<string, Row> | undefined;
  /** The lock of the row, where the caller does not hold it. */
  readonly lock?: string | undefined;
}

interface CommitContext extends IndexedRows {
  readonly access: StorageAccess;
  readonly database: string;
  readonly own: Contribution;
  readonly signal: AbortSignal | undefined;
  /** Whether it fails where it would have to search an index for the rows of an entry. */
  readonly noWait?: boolean | undefined;
}

/** A row of a unique index that a batch claims. */
interface Claim {
  readonly state: IndexedState;
  readonly index: ResolvedIndex;
  readonly key: Key;
  readonly address: RowAddress;
}

/** One attempt: what is committed, and what its checks mean. */
interface Attempt {
  readonly contribution: Contribution;
  /** Names of rows that are checked because they were read here. */
  readonly readHere: ReadonlySet<string>;
  readonly claims: ReadonlyMap<string, Claim>;
  readonly renewed: ReadonlySet<string>;
  /** Rows of entries that are not there yet. */
  readonly missing: ReadonlySet<string>;
  /** What the caller expects of entries that are absent. */
  readonly refused: ReadonlyMap<string, Expected>;
}

/**
 * No row has it: versions begin above 10^9. A batch that has to conflict is sent with it, because
 * the indexes are not prepared for its writes.
 */
const noVersion = '1';
const attemptsInTransaction = 3;

export class IndexedCommit {
  readonly #context: CommitContext;
  /** Index rows that another program has left with another version than their entry has. */
  readonly #strayRows = new Set<string>();
  /** The states whose indexes the attempt changes. */
  readonly #prepared = new Set<IndexedState>();
  /** In a transaction: the statuses of the indexes as it sees them, by the names of their rows. */
  readonly #statusRows = new Map<string, Row | undefined>();
  #known: ReadonlyMap<string, Row> | undefined;
  #attempt: Attempt | undefined;

  constructor(context: CommitContext) {
    this.#context = context;
    this.#known = context.known;
  }

  /**
   * Runs attempts until one commits, or conflicts at a check of the caller's. Throws
   * `UNIQUE_TAKEN`, and `STORAGE_CONFLICT` where the attempts are spent.
   */
  async run<R>(
    attempt: (contribution: Contribution) => Promise<R | ConflictedBatch>,
  ): Promise<R | ConflictedBatch> {
    const { access, lock, signal } = this.#context;
    const attempts = access.inTransaction ? { attempts: attemptsInTransaction } : {};
    const repeated = new WeakSet<Error>();
    const policy = { ...access.retry, ...attempts, ...(signal && { signal }) };
    const isRetryable = (error: unknown): boolean => repeated.has(error as Error);
    const work = async (): Promise<R | ConflictedBatch> => {
      const begun = access.clock.monotonic();
      const result = await attempt(await this.#prepare());
      if (!isConflict(result)) {
        await this.#observeEnd(begun);
        return result;
      }
      const refusal = await this.#refusalOf(result);
      if (refusal !== undefined) return refusal;
      const error = conflictError(result, 'own');
      repeated.add(error);
      throw error;
    };
    // only conflicts of `work` are thrown here: those of the caller's checks are returned
    if (lock !== undefined && !access.inTransaction) return await access.retryWithLock(lock, policy, work);
    return await retrying(work, policy, { clock: systemClock, isRetryable });
  }

  /** Whether a check that failed was added here. */
  concerns({ address }: ConflictedBatch): boolean {
    const name = rowNameOf(address);
    const { readHere, claims, renewed, missing } = this.#attempt as Attempt;
    return readHere.has(name) || claims.has(name) || renewed.has(name) || missing.has(name);
  }

  /** The commit has its effect: a failure here is one of the index alone, and not reported. */
  async #observeEnd(begun: number): Promise<void> {
    const { database } = this.#context;
    for (const state of this.#prepared)
      await state.statuses.afterWrite(database, begun)?.catch(() => undefined);
  }

  /** The conflict as the caller gets it; undefined where another attempt may commit. */
  async #refusalOf(conflict: ConflictedBatch): Promise<ConflictedBatch | undefined> {
    if (!this.concerns(conflict)) return conflict;
    const name = rowNameOf(conflict.address);
    const { claims, renewed, missing, refused } = this.#attempt as Attempt;
    // a build has written it: the next attempt sees it
    if (missing.has(name)) return undefined;
    const expected = refused.get(name);
    if (expected !== undefined && conflict.actual === undefined) return { ...conflict, expected };
    const claim = claims.get(name);
    if (claim !== undefined) await this.#judgeClaim(claim);
    else if (renewed.has(name)) this.#strayRows.add(name);
    else this.#known = undefined;
    return undefined;
  }

  /** `UNIQUE_TAKEN`, unless the row is gone. */
  async #judgeClaim({ state, index, key, address }: Claim): Promise<void> {
    const { access, database, signal } = this.#context;
    const { row } = await access.readOne({ database, ...address }, { signal, values: 'omit' });
    if (row !== undefined) throw uniqueTaken(state.state, index, key);
  }

  async #prepare(): Promise<Contribution> {
    const { own, access, database, signal, noWait, indexedState } = this.#context;
    const states = own.changes.map(({ address }) => indexedState(address));
    const expected = new Map(own.checks.map((check) => [rowNameOf(check.address), check.expected]));
    const before = await this.#rowsBefore(states, expected);
    const changes = own.changes.map((change, position) => {
      const name = rowNameOf(change.address);
      const [state, row, given] = [states[position], before.get(name), expected.get(name)];
      const isMissing = state !== undefined && row === undefined && given !== 'absent';
      return { change, name, state, row, given, refused: isMissing ? given : undefined };
    });
    // a change of what is not there changes no index, and must not let a database begin to exist
    this.#prepared.clear();
    if (changes.every(({ refused }) => refused === undefined))
      await this.#prepareStates(
        changes.map(({ change, state, row }) => (change.kind === 'put' || row ? state : undefined)),
      );
    const stored = changes.flatMap(({ state, row, change: { address } }) =>
      state && row ? [{ state, address, row }] : [],
    );
    const old =
      noWait === true
        ? await rowsByKeys(database, stored)
        : await rowsOfEntries(access, database, stored, signal);
    const missing = await this.#missingOf(stored, old);
    const batch = new BatchOfIndexes(this.#strayRows, missing);
    const readHere = new Map<string, Check>();
    const refusals = new Map<string, Expected>();
    for (const { change, name, state, row, given, refused } of changes) {
      if (state === undefined) continue;
      const { address } = change;
      if (refused !== undefined) {
        refusals.set(name, refused);
        readHere.set(name, { address, expected: { version: noVersion } });
      } else if (given === undefined || given === 'present')
        readHere.set(name, { address, expected: versionOrAbsent(row) });
      await batch.add(database, state, change, row, old.get(name) ?? []);
    }
    const checks = own.checks.map((check) => readHere.get(rowNameOf(check.address)) ?? check);
    const checked = new Set(own.checks.map(({ address }) => rowNameOf(address)));
    for (const [name, check] of readHere) if (!checked.has(name)) checks.push(check);
    const more = batch.contribution();
    const contribution = {
      checks: [...checks, ...more.checks],
      changes: [...own.changes, ...more.changes],
    };
    this.#attempt = {
      contribution,
      readHere: new Set(readHere.keys()),
      claims: batch.claims,
      renewed: batch.renewed,
      missing,
      refused: refusals,
    };
    return contribution;
  }

  /** The rows that entries do not have yet. */
  async #missingOf(
    stored: readonly { readonly state: IndexedState; readonly address: RowAddress }[],
    old: ReadonlyMap<string, readonly RowAddress[]>,
  ): Promise<ReadonlySet<string>> {
    const { access, database, signal } = this.#context;
    // a commit on an engine of one process sees all that is there
    if (!access.root.provider.features.shared) return new Set();
    if (access.inTransaction) await this.#readStatuses(stored.map(({ state }) => state));
    const rowAt = (address: RowAddress): Row | undefined => this.#statusRows.get(rowNameOf(address));
    const rows = stored.flatMap(({ state: { statuses }, address }) => {
      const isComplete = access.inTransaction
        ? statuses.isCompleteIn(database, rowAt)
        : statuses.isComplete(database);
      return isComplete ? [] : (old.get(rowNameOf(address)) ?? []);
    });
    if (rows.length === 0) return new Set();
    const addresses = rows.map(({ container, entity, key }) => ({ database, container, entity, key }));
    const found = await readAll(access, addresses, { signal, values: 'omit' });
    return new Set(rows.filter((_, position) => found[position] === undefined).map(rowNameOf));
  }

  /** Where they were not read with the entries. */
  async #readStatuses(states: readonly IndexedState[]): Promise<void> {
    const { access, database, signal } = this.#context;
    const addresses = statusAddresses(database, states).filter(
      (address) => !this.#statusRows.has(rowNameOf(address)),
    );
    if (addresses.length === 0) return;
    const rows = await readAll(access, addresses, { signal });
    for (const [position, address] of addresses.entries())
      this.#statusRows.set(rowNameOf(address), rows[position]);
  }

  async #prepareStates(states: readonly (IndexedState | undefined)[]): Promise<void> {
    const { database, signal } = this.#context;
    for (const state of new Set(states)) {
      if (state === undefined || this.#prepared.has(state)) continue;
      const pending = state.statuses.beforeWrite(database, signal);
      if (pending !== undefined) await pending;
      this.#prepared.add(state);
    }
  }

  /** The entries before the commit. One that must be absent is not read. */
  async #rowsBefore(
    states: readonly (IndexedState | undefined)[],
    expected: ReadonlyMap<string, Expected>,
  ): Promise<ReadonlyMap<string, Row>> {
    const { own, access, database, signal } = this.#context;
    const before = new Map(this.#known);
    this.#statusRows.clear();
    const addresses = own.changes
      .filter((_, position) => states[position] !== undefined)
      .map(({ address: { container, entity, key } }) => ({ database, container, entity, key }))
      .filter((address) => !before.has(rowNameOf(address)) && expected.get(rowNameOf(address)) !== 'absent');
    if (addresses.length === 0) return before;
    const statusRows = access.inTransaction ? statusAddresses(database, states) : [];
    const rows = await readAll(access, [...addresses, ...statusRows], { signal });
    for (const [position, address] of addresses.entries()) {
      const row = rows[position];
      if (row !== undefined) before.set(rowNameOf(address), row);
    }
    for (const [position, address] of statusRows.entries())
      this.#statusRows.set(rowNameOf(address), rows[addresses.length + position]);
    return before;
  }
}

/** Each row is checked by its version, so they need not be of one moment. */
async function readAll(
  access: StorageAccess,
  addresses: readonly Address[],
  options: ProviderReadOptions,
): Promise<readonly (Row | undefined)[]> {
  try {
    return (await access.read(addresses, options)).rows;
  } catch (error) {
    if (!isStorageError(error, 'LIMIT_EXCEEDED') || addresses.length === 1) throw error;
    const half = Math.ceil(addresses.length / 2);
    const first = await readAll(access, addresses.slice(0, half), options);
    return [...first, ...(await readAll(access, addresses.slice(half), options))];
  }
}

function statusAddresses(
  database: string,
  states: readonly (IndexedState | undefined)[],
): readonly Address[] {
  const indexes = new Set(states.flatMap((state) => state?.indexes ?? []));
  return [...indexes].map(({ statusRow: { container, entity, key } }) => ({
    database,
    container,
    entity,
    key,
  }));
}

const versionOrAbsent = (row: Row | undefined): Expected =>
  row === undefined ? 'absent' : { version: row.version };

const isConflict = (result: unknown): result is ConflictedBatch =>
  typeof result === 'object' && result !== null && (result as { outcome?: unknown }).outcome === 'conflict';

function uniqueTaken(state: ResolvedState, index: ResolvedIndex, key: Key) {
  const message = `Another ${state.name} has the key ${inspect(key)} in the unique index '${index.name}'.`;
  return storageError('UNIQUE_TAKEN', message, { state: state.name, index: index.name, indexKey: key });
}

/** The checks and changes of index rows that one batch needs. */
class BatchOfIndexes {
  readonly claims = new Map<string, Claim>();
  readonly renewed = new Set<string>();
  readonly #strayRows: ReadonlySet<string>;
  /** By the name of their row: a key that moves from one entry to another is one change. */
  readonly #changes = new Map<string, Change>();
  readonly #checks = new Map<string, Check>();
  /** Rows of unique indexes that entries of this batch have, or had. */
  readonly #held = new Set<string>();

  /** Rows of the entries that must still be absent. */
  readonly #missing: ReadonlySet<string>;

  constructor(strayRows: ReadonlySet<string>, missing: ReadonlySet<string>) {
    this.#strayRows = strayRows;
    this.#missing = missing;
  }

  /**
   * Adds what the change of one entry means. `before`: the entry as it was; `old`: its rows in the
   * indexes.
   */
  async add(
    database: string,
    state: IndexedState,
    change: Change,
    before: Row | undefined,
    old: readonly RowAddress[],
  ): Promise<void> {
    if (change.kind === 'renew') return this.#renew(old, change.ttlMs, before);
    const next =
      change.kind === 'put' ? await keysOfValue(state, database, change.address, change.value) : [];
    for (const row of old) {
      const name = rowNameOf(row);
      this.#held.add(name);
      if (this.#missing.has(name)) this.#checks.set(name, { address: row, expected: 'absent' });
      else if (!this.#changes.has(name)) this.#changes.set(name, { kind: 'delete', address: row });
    }
    if (change.kind !== 'put') return;
    const value = new IndexValue(change.address.key, change.value as StoredValue & { readonly kind: 'json' });
    const ttl = ttlInIndex(change.ttl, change.address, before);
    for (const { index, key, address: row } of next) {
      const name = rowNameOf(row);
      if (index.unique) {
        if (this.claims.has(name)) throw uniqueTaken(state.state, index, key);
        this.claims.set(name, { state, index, key, address: row });
      }
      this.#changes.set(name, putIndexRow(row, value, ttl));
    }
  }

  #renew(old: readonly RowAddress[], ttlMs: number, before: Row | undefined): void {
    if (before?.expiresAt === undefined) return;
    for (const address of old) {
      const name = rowNameOf(address);
      if (this.#missing.has(name)) {
        this.#checks.set(name, { address, expected: 'absent' });
        continue;
      }
      if (this.#strayRows.has(name)) continue;
      this.renewed.add(name);
      this.#checks.set(name, { address, expected: { version: before.version } });
      this.#changes.set(name, { kind: 'renew', address, ttlMs });
    }
  }

  contribution(): Contribution {
    for (const [name, { address }] of this.claims) {
      if (this.#held.has(name)) {
        // the entry that has it is checked in this batch
        this.claims.delete(name);
        continue;
      }
      this.#checks.set(name, { address, expected: 'absent' });
    }
    return { checks: [...this.#checks.values()], changes: [...this.#changes.values()] };
  }
}
