/** What a commit is made of, its limits, and the errors of its conflicts. */
import { describeExpected } from '../port/evaluate-batch.js';
import { assertAtMost } from '../base/assert-limits.js';
import { storageError, type StorageError } from '../base/errors.js';
import { decodeKey } from '../encoding/key-encoding.js';
import { inspect } from '../base/inspect.js';
import type { Key } from '../base/key.js';
import { rowNameOf } from '../port/row-name.js';
import type { Change, Check, CommitResult, RowAddress, Version } from '../port/storage-provider.js';
import { utf8Length } from '../base/utf8-length.js';

export type CommittedBatch = Extract<CommitResult, { outcome: 'committed' }> & { readonly version: Version };
export type ConflictedBatch = Extract<CommitResult, { outcome: 'conflict' }>;

/** What is checked and changed by one commit, or by a participant of it. */
export interface Contribution {
  readonly checks: readonly Check[];
  readonly changes: readonly Change[];
}

/** `LIMIT_EXCEEDED` for a batch of too many rows or bytes. */
export function assertBatchLimits(checks: readonly Check[], changes: readonly Change[]): void {
  const rows = new Set<string>();
  let bytes = 0;
  for (const { address } of [...checks, ...changes]) rows.add(rowNameOf(address));
  for (const name of rows) bytes += utf8Length(name);
  for (const change of changes) bytes += change.kind === 'put' ? sizeOfValue(change.value) : 8;
  assertAtMost('batchEntriesMax', rows.size, 'rows in one batch');
  assertAtMost('batchBytesMax', bytes, 'bytes in one batch');
}

/** Bytes of a value, as the limits count them. */
export function sizeOfValue(value: Extract<Change, { kind: 'put' }>['value']): number {
  return value.kind === 'json' ? utf8Length(value.text) : value.kind === 'bytes' ? value.bytes.length : 8;
}

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
