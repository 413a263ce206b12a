/**
 * From the verbs to the port: one batch, checked against the limits, with a version of its own; and
 * the one place where a conflict becomes an error.
 */
import { describeExpected } from '../port/evaluate-batch.js';
import { storageError, type StorageError } from '../base/errors.js';
import { decodeKey, inspect, type Key } from '../encoding/key-encoding.js';
import { limits } from '../base/limits.js';
import type { Renewals } from '../store/renewals.js';
import type { RetryPolicy } from '../contention/retry-on-conflict.js';
import type {
  Batch,
  Change,
  Check,
  CommitResult,
  RowAddress,
  StorageProvider,
  Version,
} from '../port/storage-provider.js';
import { utf8Length } from '../encoding/text-encoding.js';
import type { KeyedLock } from '../contention/keyed-lock.js';

/** What the stores of one provider share. */
export interface StorageAccess {
  readonly provider: StorageProvider;
  /** The next version for a batch of a database. */
  readonly versions: (database: string) => Version;
  readonly retry: RetryPolicy;
  readonly locks: KeyedLock;
  readonly renewals: Renewals;
  /** It is part of a transaction of the caller's: nothing in it is gathered or repeated. */
  readonly inTransaction: boolean;
  /** Rejects with `STORAGE_NOT_OPEN` once the storage is closed. */
  readonly assertOpen: () => void;
  /**
   * Runs work that follows a commit, or that goes on in the background: for the tenant of the
   * database, outside the async context of the caller. What belongs to a request (its tenant, its
   * user, its trace) does not leak into it.
   */
  readonly detached: <R>(database: string, work: () => R) => R;
  /**
   * The same engine inside a transaction of the caller's: one transaction has one engine.
   * `STORAGE_UNSUPPORTED` where the provider has none.
   */
  readonly within: (transaction: object) => StorageAccess;
}

export type CommittedBatch = Extract<CommitResult, { outcome: 'committed' }> & { readonly version: Version };
export type ConflictedBatch = Extract<CommitResult, { outcome: 'conflict' }>;

/** Commits one batch. Answers that it landed, or a conflict; throws whatever else became of it. */
export async function commitBatch(
  access: StorageAccess,
  database: string,
  checks: readonly Check[],
  changes: readonly Change[],
  signal: AbortSignal | undefined,
): Promise<CommittedBatch | ConflictedBatch> {
  if (checks.length + changes.length > 2) assertBatch(checks, changes);
  const batch = batchOf(access, database, checks, changes);
  return resultOf(
    access,
    batch,
    await access.provider.commit([batch], signal === undefined ? undefined : { signal }),
  );
}

/** A batch with a version of its own; `STORAGE_NOT_OPEN` once the storage is closed. */
export function batchOf(
  access: StorageAccess,
  database: string,
  checks: readonly Check[],
  changes: readonly Change[],
): Batch {
  access.assertOpen();
  return { database, version: access.versions(database), checks, changes };
}

/** What became of the one batch of a commit. */
export function resultOf(
  access: StorageAccess,
  { version }: Batch,
  results: readonly CommitResult[],
): CommittedBatch | ConflictedBatch {
  const result = results[0];
  if (result?.outcome === 'committed')
    return { outcome: 'committed', time: result.time, rows: result.rows, version };
  if (result?.outcome === 'conflict') return result;
  if (result?.outcome === 'failed') throw result.error;
  if (result === undefined) {
    throw storageError(
      'STORAGE_OUTCOME_UNKNOWN',
      `The provider '${access.provider.name}' gave no answer to a batch.`,
      {},
    );
  }
  throw storageError(
    'INVALID_OPTION',
    `The number at ${inspect(keyOf(result.address))} cannot be changed: ${result.reason}.`,
    {},
  );
}

function assertBatch(checks: readonly Check[], changes: readonly Change[]): void {
  const rows = new Set<string>();
  let bytes = 0;
  for (const { address } of [...checks, ...changes]) rows.add(rowNameOf(address));
  for (const name of rows) bytes += utf8Length(name);
  for (const change of changes) bytes += change.kind === 'put' ? sizeOfValue(change.value) : 8;
  assertAtMost('batchEntriesMax', rows.size, 'rows in one batch');
  assertAtMost('batchBytesMax', bytes, 'bytes in one batch');
}

export function assertAtMost(limit: keyof typeof limits, given: number, what: string): void {
  const allowed = limits[limit];
  if (given > allowed)
    throw storageError('LIMIT_EXCEEDED', `${given} ${what} are over the limit ${limit} of ${allowed}.`, {
      limit,
      given,
      allowed,
    });
}

/** Bytes of a value, as the limits count them. */
export function sizeOfValue(value: Extract<Change, { kind: 'put' }>['value']): number {
  return value.kind === 'json' ? utf8Length(value.text) : value.kind === 'bytes' ? value.bytes.length : 8;
}

/** One text for one row of a database. NUL is in no address. */
export const rowNameOf = ({ container, entity, key }: RowAddress): string =>
  `${container}\0${entity}\0${key}`;

/** The key as the user knows it; the encoded text where it is none. */
export const keyOf = ({ key }: RowAddress): Key => decodeKey(key) ?? key;

/**
 * `KEY_EXISTS`: the caller said that the key must be new. Never retried: the same call fails again.
 */
export const existsError = (state: string, key: Key): StorageError<'KEY_EXISTS'> =>
  storageError('KEY_EXISTS', `There is a ${state} ${inspect(key)} already.`, { key });

/**
 * The conflict as an error. `check`: whether the failed check was the caller's own (`ifMatch`):
 * that is never retried.
 */
export function conflictError(
  { address, expected, actual }: ConflictedBatch,
  check: 'caller' | 'own',
): StorageError<'STORAGE_CONFLICT'> {
  const key = keyOf(address);
  const words = describeExpected(expected);
  const message = `${address.entity} ${inspect(key)} is ${actual === undefined ? 'absent' : `at etag ${actual}`}; expected was ${
    typeof expected === 'object' && 'version' in expected ? `etag ${words}` : words
  }.`;
  return storageError(
    'STORAGE_CONFLICT',
    message,
    { key, expected: words, actual, check },
    { retryable: check === 'own' },
  );
}
