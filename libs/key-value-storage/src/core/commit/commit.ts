/** What a commit is made of, its limits, and the errors of its conflicts. */
import { describeExpected } from '../port/evaluate-batch.js';
import { assertAtMost } from '../base/assert-limits.js';
import { storageError, type StorageError } from '../base/errors.js';
import { DeferredJson } from '../encoding/encoded-json.js';
import { decodeKey } from '../encoding/key-encoding.js';
import { inspect } from '../base/inspect.js';
import { limits } from '../base/limits.js';
import type { Key } from '../base/key.js';
import { footprintOf, type BatchContent } from '../port/footprint.js';
import type {
  Batch,
  Change,
  Check,
  CommitResult,
  RowAddress,
  StoredValue,
  Version,
} from '../port/storage-provider.js';

export type CommittedBatch = Extract<CommitResult, { outcome: 'committed' }> & { readonly version: Version };
export type ConflictedBatch = Extract<CommitResult, { outcome: 'conflict' }>;

/** What is checked and changed by one commit, or by a participant of it. */
export interface Contribution {
  readonly checks: readonly Check[];
  readonly changes: readonly Change[];
}

/** A change that is left out where the whole batch has no room for it. */
export interface OptionalChange {
  readonly change: Change;
  /** Called after the commit. */
  readonly committed: (isStored: boolean) => void;
}

/** Whether a batch has not too many rows or bytes. */
export function isWithinBatchLimits(batch: BatchContent): boolean {
  if (isFarBelowLimits(batch)) return true;
  const { rows, bytes } = footprintOf(batch);
  return rows.length <= limits.batchEntriesMax && bytes <= limits.batchBytesMax;
}

/** `LIMIT_EXCEEDED` for a batch of too many rows or bytes. */
export function assertBatchLimits(batch: Batch): void {
  if (isFarBelowLimits(batch)) return;
  const { rows, bytes } = footprintOf(batch);
  assertAtMost('batchEntriesMax', rows.length, 'rows in one batch');
  assertAtMost('batchBytesMax', bytes, 'bytes in one batch');
}

/**
 * Whether a cheap upper bound is within the limits: counting rows and bytes took a fifth of an
 * append.
 */
function isFarBelowLimits({ checks, changes }: BatchContent): boolean {
  if (checks.length + changes.length > limits.batchEntriesMax) return false;
  let characters = 0;
  for (const { address } of checks) characters += charactersOf(address);
  for (const change of changes) {
    characters += charactersOf(change.address) + 8;
    if (change.kind === 'put' && change.value.kind === 'json') characters += lengthMaxOf(change.value);
    else if (change.kind === 'put' && change.value.kind === 'bytes') characters += change.value.bytes.length;
  }
  // a character takes three bytes at most
  return characters * 3 <= limits.batchBytesMax;
}

const lengthMaxOf = (value: Extract<StoredValue, { kind: 'json' }>): number =>
  value instanceof DeferredJson ? value.lengthMax : value.text.length;

const charactersOf = ({ container, entity, key }: RowAddress): number =>
  container.length + entity.length + key.length + 2;

/** The key of a row; its encoded text where that cannot be decoded. */
export const keyOf = ({ key }: RowAddress): Key => decodeKey(key) ?? key;

/** `KEY_EXISTS`; never retried, because the same call fails again. */
export const existsError = (state: string, key: Key): StorageError<'KEY_EXISTS'> =>
  storageError('KEY_EXISTS', `${state} ${inspect(key)} already exists.`, { key });

/** `KEY_NOT_FOUND`, as `existsError`. */
export const notFoundError = (state: string, key: Key): StorageError<'KEY_NOT_FOUND'> =>
  storageError('KEY_NOT_FOUND', `There is no ${state} ${inspect(key)}.`, { key });

/**
 * `check`: 'caller' where the failed check was the caller's (`ifMatch`), which is never retried.
 */
export function conflictError(
  { address, expected, actual }: ConflictedBatch,
  check: 'caller' | 'own',
): StorageError<'STORAGE_CONFLICT'> {
  const words = describeExpected(expected);
  const isVersion = typeof expected === 'object' && 'version' in expected;
  return conflictOf(address, isVersion ? `etag ${words}` : words, words, actual, check);
}

/** `STORAGE_CONFLICT`; `required`: what the row must be, in words. */
export function conflictOf(
  address: RowAddress,
  required: string,
  expected: string,
  actual: Version | undefined,
  check: 'caller' | 'own',
): StorageError<'STORAGE_CONFLICT'> {
  const key = keyOf(address);
  const state = actual === undefined ? 'absent' : `at etag ${actual}`;
  const message = `${address.entity} ${inspect(key)} is ${state}; expected ${required}.`;
  const details = { key, expected, actual, check };
  return storageError('STORAGE_CONFLICT', message, details, { retryable: check === 'own' });
}
