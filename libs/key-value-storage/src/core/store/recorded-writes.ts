/**
 * Writes of one entry, with or without an idempotency key. With a key, a record of the result is
 * committed in the same batch, so that a repeat returns the first result and changes nothing. The
 * record keeps the value too, because the entry may have changed since.
 */
import { storageError } from '../base/errors.js';
import { conflictError, type CommittedBatch, type ConflictedBatch } from '../commit/commit.js';
import {
  idempotencyRecordIn,
  type IdempotencyRecord,
  type JsonContent,
} from '../commit/idempotency-record.js';
import type { RetryPolicy } from '../contention/retry-on-conflict.js';
import type { Key } from '../base/key.js';
import { isPromise } from '../base/kinds.js';
import type { Address, Change, Expected, Row, TimeToLive } from '../port/storage-provider.js';
import type { CallOptions, IdempotentOptions } from './call-options.js';
import { ReadEntry, ReadEntryInfo, type Entry, type EntryInfo } from './entry.js';
import { recordOf } from './row-record.js';
import type { StateRows } from './state-rows.js';
import type { Encoded } from './value-codec.js';

/**
 * A result as its record keeps it. The version and the time of the commit are those of the record.
 */
export interface KeptResult {
  /** Of `take` and `delete`: whether there was an entry. Of `getOrAdd`: whether it was added. */
  readonly changed?: boolean;
  /** As stored. */
  readonly value?: string;
  /** Of an entry that the call did not write. */
  readonly version?: string;
  readonly updatedAt?: number;
  readonly expiresAt?: number;
  /** From the commit. */
  readonly ttlMs?: number;
}

/** A write of one row. */
export interface RowWrite<R> {
  readonly verb: string;
  readonly address: Address;
  readonly options: (CallOptions & IdempotentOptions) | undefined;
  /** The arguments that a repeat must have; left out where they cannot be compared. */
  readonly intent?: JsonContent | undefined;
  /** The result of the first call. */
  readonly replayed: (kept: KeptResult, record: Row) => R | Promise<R>;
}

/** What a write does with the row as it was read. */
export interface Decision<R> {
  /** `undefined`: nothing is written, beside the record. */
  readonly change: (Change & { readonly address: Address }) | undefined;
  readonly kept: () => KeptResult;
  /** `batch`: undefined where nothing was committed. */
  readonly result: (batch: CommittedBatch | undefined) => R | Promise<R>;
}
type Decide<R> = (row: Row | undefined, time: number) => Decision<R> | Promise<Decision<R>>;

/** A write that need not read the row. */
interface BlindWrite<R> {
  readonly expected: Expected | undefined;
  readonly change: Change & { readonly address: Address };
  readonly onConflict: (conflict: ConflictedBatch) => Error;
  readonly result: (batch: CommittedBatch) => R;
}

/**
 * The record of a write whose options have a key; its content is that of the moment of the call.
 */
export function recordOfWrite<R>(
  { access }: Pick<StateRows<unknown>, 'access'>,
  { verb, address, options, intent }: RowWrite<R>,
  kept: () => KeptResult,
): IdempotencyRecord | undefined {
  const given = options?.idempotencyKey;
  if (given === undefined) return undefined;
  return recordOf({ access, address, verb, given, intent, result: kept });
}

/** Commits a write that need not read the row, in one round trip. */
export async function commitOnce<T, K extends Key, R>(
  rows: StateRows<T, K>,
  write: RowWrite<R>,
  record: IdempotencyRecord,
  { expected, change, onConflict, result }: BlindWrite<R>,
): Promise<R> {
  const { address, options } = write;
  const checks = expected === undefined ? [] : [{ address, expected }];
  const outcome = await rows.commitRecorded(
    record,
    { checks, changes: [change] },
    { refusal: onConflict, signal: options?.signal, single: address },
  );
  return outcome.outcome === 'replayed' ? await replayed(write, outcome.row) : result(outcome);
}

/**
 * Reads a row, decides, and commits under the version that was read; again after a conflict. With a
 * key, the record is in the same read, and is looked for again when the decision throws: the same
 * call may have been committed since. Not async: a frame less.
 */
export function decideRow<T, K extends Key, R>(
  rows: StateRows<T, K>,
  write: RowWrite<R>,
  policy: RetryPolicy,
  decide: Decide<R>,
  values?: 'omit',
): Promise<R> {
  const { address, options } = write;
  if (options?.idempotencyKey !== undefined) return decideOnce(rows, write, policy, decide);
  const reading = { signal: options?.signal, values: values ?? 'include' } as const;
  return rows.retry(address, policy, async () => {
    const { rows: found, time } = await rows.access.read([address], reading);
    const row = found[0];
    const decided = decide(row, time);
    const { change, result } = isPromise(decided) ? await decided : decided;
    if (change === undefined) return await result(undefined);
    const batch = await rows.change(change, expectedOf(row), options, values === undefined ? row : undefined);
    if (batch.outcome === 'conflict') throw conflictError(batch, 'own');
    const made = result(batch);
    return isPromise(made) ? await made : made;
  });
}

async function decideOnce<T, K extends Key, R>(
  rows: StateRows<T, K>,
  write: RowWrite<R>,
  policy: RetryPolicy,
  decide: Decide<R>,
): Promise<R> {
  let decision: Decision<R> | undefined;
  const kept = (): KeptResult => (decision as Decision<R>).kept();
  const record = recordOfWrite(rows, write, kept) as IdempotencyRecord;
  const prepared = record.prepare();
  if (prepared !== undefined) await prepared;
  const { access } = rows;
  const { address, options } = write;
  const signal = options?.signal;
  return await rows.retry(address, policy, async () => {
    const { rows: found, time } = await access.read([...record.reads, address], { signal });
    const [first, row] = found;
    if (isReplay(record, first)) return await replayed(write, first);
    try {
      decision = await decide(row, time);
    } catch (error) {
      return await replayOrThrow(rows, write, record, error);
    }
    const { change, result } = decision;
    const checks = [{ address, expected: expectedOf(row) }];
    const changes = change === undefined ? [] : [change];
    const outcome = await rows.commitRecorded(record, { checks, changes }, { signal, row, retries: false });
    return outcome.outcome === 'replayed' ? await replayed(write, outcome.row) : await result(outcome);
  });
}

/**
 * After an error before the commit: work that was done before may have been decided by its own
 * result, or was committed while it decided.
 */
export async function replayOrThrow<R>(
  { access }: Pick<StateRows<unknown>, 'access'>,
  write: RowWrite<R>,
  record: IdempotencyRecord,
  error: unknown,
): Promise<R> {
  const prepared = record.prepare();
  if (prepared !== undefined) await prepared;
  const signal = write.options?.signal;
  const found = await access.read(record.reads, { signal }).catch(() => undefined);
  const row = found?.rows[0];
  if (!isReplay(record, row)) throw error;
  return await replayed(write, row);
}

/** Whether the work was done before; throws where the key was used for other work. */
function isReplay(record: IdempotencyRecord, row: Row | undefined): row is Row {
  const verdict = record.evaluate({ rows: [row], time: 0, conflict: undefined });
  if (verdict.outcome === 'reject') throw verdict.error;
  return verdict.outcome === 'replayed';
}

const replayed = <R>(write: RowWrite<R>, record: Row): R | Promise<R> =>
  write.replayed(idempotencyRecordIn(record).result ?? {}, record);

const expectedOf = (row: Row | undefined): Expected =>
  row === undefined ? 'absent' : { version: row.version };

// ─── results

/** The expiry of a row as it was read. */
export interface ReadExpiry {
  readonly expiresAt?: number | undefined;
}

/** The expiry of a row after a write; `before`: as it was read. */
export function keptExpiry(ttl: TimeToLive, before: ReadExpiry | undefined): KeptResult {
  if (typeof ttl === 'number') return { ttlMs: ttl };
  if (ttl === 'never') return {};
  return before === undefined ? keptExpiry(ttl.keepElse, undefined) : keptExpiryOf(before);
}

const keptExpiryOf = ({ expiresAt }: ReadExpiry): KeptResult =>
  expiresAt === undefined ? {} : { expiresAt };

/** A written value. */
export const keptValue = ({ stored }: Encoded<unknown>): KeptResult =>
  stored.kind === 'json' ? { value: stored.text } : {};

/** An entry that was read and not written. */
export const keptRow = (row: Row): KeptResult => ({
  ...(row.value.kind === 'json' && { value: row.value.text }),
  ...keptInfo(row),
});

/** As `keptRow`, without the value. */
export const keptInfo = (row: Row): KeptResult => ({
  version: row.version,
  updatedAt: row.updatedAt,
  ...keptExpiryOf(row),
});

const timesOf = ({ version, updatedAt, expiresAt, ttlMs }: KeptResult, record: Row) => ({
  version: version ?? record.version,
  updatedAt: updatedAt ?? record.updatedAt,
  // the record expires by the same clock, counted from the same commit
  expiresAt: ttlMs === undefined ? expiresAt : (record.expiresAt ?? 0) - (record.ttlMs ?? 0) + ttlMs,
});

/** The entry that the first call returned. */
export async function entryAgain<T, K extends Key>(
  { codec, state }: StateRows<T, K>,
  address: Address,
  key: K,
  kept: KeptResult,
  record: Row,
): Promise<Entry<T, K>> {
  if (kept.value === undefined) {
    const message = `The record of an idempotency key of ${state.name} has no value.`;
    throw storageError('STORAGE_CORRUPT', message, { place: 'idempotency record' });
  }
  const value = await codec.decode(address, { kind: 'json', text: kept.value });
  const { version, updatedAt, expiresAt } = timesOf(kept, record);
  return new ReadEntry(key, value, version, updatedAt, expiresAt, address, state.schemaVersion);
}

/** As `entryAgain`, without the value. */
export function infoAgain<K extends Key>(key: K, kept: KeptResult, record: Row): EntryInfo<K> {
  const { version, updatedAt, expiresAt } = timesOf(kept, record);
  return new ReadEntryInfo(key, version, updatedAt, expiresAt);
}
