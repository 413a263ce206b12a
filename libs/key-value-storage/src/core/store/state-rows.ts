/**
 * The rows of one state, of one tenant at a time: addresses, reads and writes in the terms of the
 * port, entries in the terms of the user.
 */
import { untilAborted } from '../base/abort.js';
import {
  batchOf,
  commitBatch,
  conflictError,
  type ConflictedBatch,
  type StorageAccess,
  type CommittedBatch,
} from '../commit/commit.js';
import { ReadEntry, ReadEntryInfo, type Entry, type EntryInfo } from './entry.js';
import { encodeKey, type Key } from '../encoding/key-encoding.js';
import { isPromise } from '../base/kinds.js';
import type { CallOptions, ReadOptions } from './key-value-store.js';
import { lockNameOf } from '../contention/held-locks.js';
import type { Renewed } from './renewals.js';
import { retryWithLock } from '../contention/retry-with-lock.js';
import type { RetryPolicy } from '../contention/retry-on-conflict.js';
import type { ResolvedState } from './state-definition.js';
import type {
  Address,
  Change,
  Expected,
  ReadResult,
  Row,
  StoredValue,
  TimeToLive,
  Version,
} from '../port/storage-provider.js';
import { ValueCodec, type Encoded } from './value-codec.js';

export class StateRows<T> {
  readonly access: StorageAccess;
  readonly state: ResolvedState<T>;
  readonly codec: ValueCodec<T>;
  /**
   * The database of the moment. It is asked once a call, when the call is made: retries and later
   * pages keep it.
   */
  readonly database: () => string;

  constructor(access: StorageAccess, state: ResolvedState<T>, database: () => string) {
    this.access = access;
    this.state = state;
    this.database = database;
    this.codec = new ValueCodec(state, access.provider.features.durable === false);
  }

  address(key: Key): Address {
    return {
      database: this.database(),
      container: this.state.container,
      entity: this.state.entity,
      key: encodeKey(key),
    };
  }

  /** Rows of the port, in the order asked. Not async: one frame less in every read. */
  read(
    addresses: readonly Address[],
    options: ReadOptions | undefined,
    values: 'include' | 'omit' = 'include',
  ): Promise<ReadResult> {
    this.access.assertOpen();
    return this.access.provider.read(
      addresses,
      options === undefined && values === 'include' ? undefined : { ...options, values },
    );
  }

  async readOne(
    address: Address,
    options: ReadOptions | undefined,
    values?: 'omit',
  ): Promise<{ readonly row: Row | undefined; readonly time: number }> {
    const { rows, time } = await this.read([address], options, values);
    return { row: rows[0], time };
  }

  /** A promise only where the value must be lifted from an older schema version. */
  entry(address: Address, key: Key, row: Row, expiresAt = row.expiresAt): Entry<T> | Promise<Entry<T>> {
    const value = this.codec.decode(address, row.value);
    const { schemaVersion } = this.state;
    if (!isPromise(value))
      return new ReadEntry(key, value, row.version, row.updatedAt, expiresAt, address, schemaVersion);
    return value.then(
      (lifted) => new ReadEntry(key, lifted, row.version, row.updatedAt, expiresAt, address, schemaVersion),
    );
  }

  info(key: Key, row: Row, expiresAt = row.expiresAt): EntryInfo {
    return new ReadEntryInfo(key, row.version, row.updatedAt, expiresAt);
  }

  /** Writes a value if the row is what was expected. */
  async put(
    address: Address,
    stored: StoredValue,
    ttl: TimeToLive,
    expected: Expected | undefined,
    options: CallOptions | undefined,
  ): Promise<CommittedBatch | ConflictedBatch> {
    const checks = expected === undefined ? [] : [{ address, expected }];
    return await this.commit(address, checks, { kind: 'put', address, value: stored, ttl }, options);
  }

  async commit(
    address: Address,
    checks: readonly { readonly address: Address; readonly expected: Expected }[],
    change: Change,
    options: CallOptions | undefined,
  ) {
    return await commitBatch(this.access, address.database, checks, [change], options?.signal);
  }

  /** The entry that a landed write left behind. */
  written(address: Address, key: Key, encoded: Encoded<T>, landed: CommittedBatch, index = 0): Entry<T> {
    const { version, time, rows } = landed;
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
   * Moves a sliding expiry to the time that the row was written with, at most once per tenth of it,
   * and once for all who read it at the same time. Answers the expiry afterwards: a renewal that
   * fails, or meets somebody who has the row, does not fail the read and does not hold it up.
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
    const { version } = row;
    const name = lockNameOf(address.database, address);
    // it goes on when the reader has gone
    const renew = async (): Promise<Renewed | undefined> =>
      await this.access.detached(address.database, async () => await this.#renew(address, version, ttlMs));
    const renewal = this.access.renewals.once(name, version, time, renew);
    return (await untilAborted('A read', 'none', signal, renewal)) ?? expiresAt;
  }

  /** Nothing where the row was not renewed: nobody waits for a row that somebody else has. */
  async #renew(address: Address, version: Version, ttlMs: number): Promise<Renewed | undefined> {
    try {
      const batch = batchOf(
        this.access,
        address.database,
        [{ address, expected: { version } }],
        [{ kind: 'renew', address, ttlMs }],
      );
      const [result] = await this.access.provider.commit([{ ...batch, noWait: true }]);
      const expiresAt = result?.outcome === 'committed' ? result.rows[0]?.expiresAt : undefined;
      return result?.outcome !== 'committed' || expiresAt === undefined
        ? undefined
        : { at: result.time, expiresAt };
    } catch {
      return undefined;
    }
  }

  /**
   * Repeats read-and-write work at one row while it conflicts. The first caller has the turn
   * already: rivals that come meanwhile wait, rather than commit behind it what is sure to
   * conflict. Most calls meet no rival, and pay nothing for the loop.
   */
  async retryInTurn<R>(
    address: Address,
    policy: RetryPolicy,
    work: () => Promise<R | ConflictedBatch>,
  ): Promise<R> {
    return await retryWithLock(this.access, lockNameOf(address.database, address), policy, async () => {
      const result = await work();
      if (isConflicted(result)) throw conflictError(result, 'own');
      return result;
    });
  }
}

const isConflicted = (result: unknown): result is ConflictedBatch =>
  typeof result === 'object' && result !== null && (result as { outcome?: unknown }).outcome === 'conflict';
