/** The rows of one state: keys to addresses, rows to entries, and the changes of single rows. */
import { untilAborted } from '../base/abort.js';
import type { CommittedBatch, ConflictedBatch, Contribution } from '../commit/commit.js';
import type { IdempotencyRecord } from '../commit/idempotency-record.js';
import { commitParticipants, type CommittedOrReplayed } from '../commit/participant.js';
import type { StorageAccess } from '../commit/storage-access.js';
import { ReadEntry, ReadEntryInfo, type Entry, type EntryInfo } from './entry.js';
import type { Key } from '../base/key.js';
import { isPromise } from '../base/kinds.js';
import { addressOf, type DefinitionRows } from './definition-rows.js';
import type { CallOptions } from './call-options.js';
import { lockNameOf, rowNameOf } from '../port/row-name.js';
import type { Renewed } from '../contention/renewals.js';
import type { RetryPolicy } from '../contention/retry-on-conflict.js';
import { IndexedCommit, type IndexedRows, type IndexedState } from './indexed-commit.js';
import { commitIndexedParticipants } from './indexed-participants.js';
import { indexStatuses } from './index-status.js';
import type { ResolvedState } from './state-definition.js';
import type { Address, Change, Expected, Row, Version } from '../port/storage-provider.js';
import { ValueCodec, type Encoded } from './value-codec.js';

interface StateCommitOptions extends CallOptions {
  readonly noWait?: boolean;
  /** @default the next version of the database */
  readonly version?: Version;
}

interface RecordedCommitOptions extends CallOptions {
  /** As of `ParticipantBatch`. */
  readonly refusal?: (conflict: ConflictedBatch) => Error;
  readonly retries?: boolean;
  /** As of `commit`. */
  readonly single?: Address;
  readonly row?: Row | undefined;
}

export class StateRows<T, K extends Key = Key> implements DefinitionRows<Entry<T, K>, K> {
  readonly access: StorageAccess;
  readonly state: ResolvedState<T>;
  readonly codec: ValueCodec<T>;
  /** The database of the current tenant: called once a call, so that retries and pages keep it. */
  readonly database: () => string;
  /** `undefined` where the state has no indexes. */
  readonly indexed: IndexedState | undefined;

  constructor(access: StorageAccess, state: ResolvedState<T>, database: () => string) {
    this.access = access;
    this.state = state;
    this.database = database;
    const { indexes } = state;
    this.codec = new ValueCodec(state, access.provider.features.durable === false);
    this.indexed = indexes && {
      state,
      codec: this.codec,
      indexes,
      statuses: indexStatuses(access, state, indexes, this.codec),
    };
  }

  get definition(): ResolvedState<T> {
    return this.state;
  }

  address(key: Key, database = this.database()): Address {
    return addressOf(this.state, key, database);
  }

  /** A promise only where the value must be upcast from an older schema version. */
  entry(address: Address, key: K, row: Row, expiresAt = row.expiresAt): Entry<T, K> | Promise<Entry<T, K>> {
    const value = this.codec.decode(address, row.value);
    const { schemaVersion } = this.state;
    if (!isPromise(value))
      return new ReadEntry(key, value, row.version, row.updatedAt, expiresAt, address, schemaVersion);
    return value.then(
      (upcast) => new ReadEntry(key, upcast, row.version, row.updatedAt, expiresAt, address, schemaVersion),
    );
  }

  info(key: K, row: Row, expiresAt = row.expiresAt): EntryInfo<K> {
    return new ReadEntryInfo(key, row.version, row.updatedAt, expiresAt);
  }

  /**
   * Commits one change of a row, if the row is as expected. `row`: as it was read, with its value.
   */
  change(
    change: Change & { readonly address: Address },
    expected: Expected | undefined,
    options: StateCommitOptions | undefined,
    row?: Row,
  ): Promise<CommittedBatch | ConflictedBatch> {
    const { address } = change;
    const checks = expected === undefined ? [] : [{ address, expected }];
    return this.commit(address.database, { checks, changes: [change] }, options, undefined, row);
  }

  /**
   * Commits changes of this state, and of its indexes. `single`: the address of the only row, whose
   * lock the caller does not hold. `row`: the only row, as it was read. Not async: a state without
   * indexes has no frame more.
   */
  commit(
    database: string,
    contribution: Contribution,
    options: StateCommitOptions | undefined,
    single?: Address,
    row?: Row,
  ): Promise<CommittedBatch | ConflictedBatch> {
    const { access, indexed } = this;
    if (indexed === undefined) return access.commit(database, contribution, options);
    const context = {
      access,
      database,
      own: contribution,
      signal: options?.signal,
      noWait: options?.noWait,
      ...this.#indexedRows(indexed, contribution, single, row),
    };
    return new IndexedCommit(context).run((whole) => access.commit(database, whole, options));
  }

  /**
   * As `commit`, with an idempotency record in the same batch. The rows of the result are those of
   * the contribution.
   */
  async commitRecorded(
    record: IdempotencyRecord,
    own: Contribution,
    { signal, refusal, retries = true, single, row }: RecordedCommitOptions,
  ): Promise<CommittedOrReplayed> {
    const { access, indexed } = this;
    const { database } = record;
    const batch = { access, database, own, participants: [record], refusal, retries, signal };
    const outcome =
      indexed === undefined || own.changes.length === 0
        ? await commitParticipants(batch)
        : await commitIndexedParticipants(batch, this.#indexedRows(indexed, own, single, row));
    if (outcome.outcome === 'replayed') return outcome;
    const { time, version, rows, position } = outcome;
    // the change of the record is the first one
    return { outcome: 'committed', time, version, rows: rows.slice(1), position };
  }

  #indexedRows(
    indexed: IndexedState,
    own: Contribution,
    single: Address | undefined,
    row: Row | undefined,
  ): IndexedRows {
    const [change] = own.changes;
    return {
      // a change may be of another row, such as the mark of a copy
      indexedState: ({ container }) => (container === this.state.container ? indexed : undefined),
      known: row && change && new Map([[rowNameOf(change.address), row]]),
      lock: single && lockNameOf(single.database, single),
    };
  }

  /** The entry that a committed write left behind. */
  written(address: Address, key: K, encoded: Encoded<T>, batch: CommittedBatch, index = 0): Entry<T, K> {
    const { version, time, rows } = batch;
    return new ReadEntry(
      key,
      encoded.value,
      version,
      time,
      rows[index]?.expiresAt,
      address,
      this.state.schemaVersion,
    );
  }

  /**
   * Renews a sliding expiry to the TTL that the row was written with, at most once per tenth of it,
   * and once for all concurrent readers. Returns the expiry afterwards. A renewal that fails, or
   * finds the row locked, neither fails nor delays the read. Inside a transaction of the caller, a
   * read must lock no row: the row is renewed after the commit, and not after a rollback; at most
   * once, however often it is read, and only while fewer than 10,000 calls wait for the commit.
   */
  async slide(
    address: Address,
    row: Row,
    time: number,
    signal: AbortSignal | undefined,
  ): Promise<number | undefined> {
    const { expiresAt, ttlMs } = row;
    if (!this.state.sliding || expiresAt === undefined || ttlMs === undefined) return expiresAt;
    if (time + ttlMs - expiresAt < ttlMs / 10) return expiresAt;
    const { access, state, database } = this;
    if (access.inTransaction) {
      // it waits without the value of the row
      const { version } = row;
      const renew = async () => {
        const outside = new StateRows<T, K>(access.root, state, database);
        await outside.#renewOnce(address, version, ttlMs, time);
      };
      access.afterCommit(() => void renew(), lockNameOf(address.database, address));
      return expiresAt;
    }
    // it continues when the reader aborts
    const renewal = this.#renewOnce(address, row.version, ttlMs, time, row);
    return (await untilAborted('A read', 'none', signal, renewal)) ?? expiresAt;
  }

  /** The expiry afterwards; `undefined` where it was not renewed. `row`: where it is at hand. */
  async #renewOnce(
    address: Address,
    version: Version,
    ttlMs: number,
    time: number,
    row?: Row,
  ): Promise<number | undefined> {
    const { access } = this;
    const name = lockNameOf(address.database, address);
    return await access.renewals.once(name, version, time, async () =>
      access.detached(address.database, async () => await this.#renew(address, version, ttlMs, row)),
    );
  }

  /**
   * `undefined` where the row was not renewed; it waits neither for the row nor for a search of an
   * index.
   */
  async #renew(
    address: Address,
    version: Version,
    ttlMs: number,
    row: Row | undefined,
  ): Promise<Renewed | undefined> {
    try {
      const checks = [{ address, expected: { version } }];
      const changes = [{ kind: 'renew', address, ttlMs } as const];
      const result = await this.commit(
        address.database,
        { checks, changes },
        { noWait: true },
        undefined,
        row,
      );
      const expiresAt = result.outcome === 'committed' ? result.rows[0]?.expiresAt : undefined;
      return result.outcome !== 'committed' || expiresAt === undefined
        ? undefined
        : { at: result.time, expiresAt };
    } catch {
      return undefined;
    }
  }

  /** Repeats work that reads and writes one row while it throws conflicts. */
  retry<R>(address: Address, policy: RetryPolicy, work: () => Promise<R>): Promise<R> {
    return this.access.retryWithLock(lockNameOf(address.database, address), policy, work);
  }
}
