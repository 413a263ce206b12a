/**
 * Commits the change of one value, with the checks that the call asks for. The command line has no
 * definitions of indexes: it makes those of the state unready, and the next process that uses them
 * builds them again.
 */
import {
  storageError,
  UnindexedWriter,
  type Row,
  type StorageProvider,
} from '@kvent/key-value-storage/internal/rows';
import type { Change, Check } from '@kvent/key-value-storage/provider';
import type { ValueAddress } from './one-value.js';

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
  const writer = new UnindexedWriter(provider, { database, container, entity });
  try {
    await writer.begin(signal);
    const { version, result } = await writer.commit({ checks: [check], changes: [change] }, signal);
    if (result?.outcome === 'committed') return version;
    const actual = result?.outcome === 'conflict' ? result.actual : undefined;
    throw conflictError(options.key, before?.version, actual);
  } finally {
    await writer.end();
  }
}

const existsError = (key: string): Error =>
  storageError('KEY_EXISTS', `There is already a value at ${key}.`, { key });

const conflictError = (key: string, expected: string | undefined, actual: string | undefined): Error =>
  storageError(
    'STORAGE_CONFLICT',
    `The value at ${key} has ${actual === undefined ? 'no etag, because it is absent' : `the etag ${actual}`}; expected ${expected === undefined ? 'no value' : `the etag ${expected}`}. Nothing was changed.`,
    { key, expected: expected ?? 'absent', actual, check: 'caller' },
  );
