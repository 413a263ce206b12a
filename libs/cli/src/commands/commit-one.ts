/** Commits the change of one value, with the checks that the call asks for. */
import { storageError, type Row, type StorageProvider } from '@kvent/key-value-storage/internal/rows';
import type { Change, Check } from '@kvent/key-value-storage/provider';
import { commitBatch } from './commit-batch.js';
import type { ValueAddress } from './one-value.js';
import { makeIndexesUnready } from './unready-indexes.js';

interface OneChange {
  readonly change: Change;
  /** The row that was read. The commit fails if it has changed since. */
  readonly before: Row | undefined;
  readonly options: { readonly key: string; readonly ifMatch?: string; readonly ifAbsent?: boolean };
  readonly signal: AbortSignal;
}

/** Returns the new etag. `KEY_EXISTS` for `ifAbsent`, `STORAGE_CONFLICT` for another etag. */
export async function commitOne(
  provider: StorageProvider,
  { database, container, entity, key }: ValueAddress,
  { change, before, options, signal }: OneChange,
): Promise<string> {
  if (options.ifAbsent === true && before !== undefined) throw existsError(options.key);
  const expected = options.ifMatch ?? before?.version;
  if (expected !== before?.version) throw conflictError(options.key, expected, before?.version);
  const check: Check = {
    address: { container, entity, key },
    expected: before === undefined ? 'absent' : { version: before.version },
  };
  await makeIndexesUnready(provider, { database, container, entity }, signal);
  const result = await commitBatch(provider, database, { checks: [check], changes: [change] }, signal);
  if (result.outcome === 'committed') return result.version;
  throw conflictError(options.key, before?.version, result.actual);
}

const existsError = (key: string): Error =>
  storageError('KEY_EXISTS', `There is already a value at ${key}.`, { key });

const conflictError = (key: string, expected: string | undefined, actual: string | undefined): Error =>
  storageError(
    'STORAGE_CONFLICT',
    `The value at ${key} has ${actual === undefined ? 'no etag, because it is absent' : `the etag ${actual}`}; expected ${expected === undefined ? 'no value' : `the etag ${expected}`}. Nothing was changed.`,
    { key, expected: expected ?? 'absent', actual, check: 'caller' },
  );
