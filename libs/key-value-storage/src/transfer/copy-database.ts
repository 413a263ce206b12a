/**
 * Copies databases from one storage to another: every row with its version and times, so that ETags
 * of clients and expiries stay valid. Only an empty target is written to, and it is marked as
 * unfinished until all rows are read back and compared with the source.
 */
import {
  resolveDatabaseOptions,
  resolveStorageOptions,
  type CopyDatabaseOptions,
  type CopyStorageOptions,
} from './copy-options.js';
import { CopyRun, type CopiedDatabase } from './copy-run.js';
import type { CopySource } from './copy-source.js';
import { hashOfDatabases } from './row-digest.js';
import type { StorageProvider } from '../core/port/storage-provider.js';

export interface CopiedStorage {
  /** In order. */
  readonly databases: readonly CopiedDatabase[];
  readonly rows: number;
  /** Of all databases. */
  readonly sha256: string;
}

/**
 * Copies every database of `from` to `to`; both must be open. When it resolves, both sides contain
 * the same rows: the target was read back and compared row by row. Versions, times and expiries are
 * copied; expired rows and leases of sessions are not. Memory stays flat.
 *
 * The source is frozen during the copy if its provider supports that (`administration.freeze`).
 * Otherwise it must not be written to: the comparison finds such a row, and it is an error.
 *
 * - `INVALID_OPTION`: the target is not empty (see `ifPresent`), source and target are the same
 *   storage, or the source is an unfinished copy. Nothing was written.
 * - `STORAGE_CORRUPT`: a row is missing or different in the target. `place` names it.
 * - Any other error, also `ABORTED`, keeps its code. `done`: how many rows were copied. The source
 *   is unchanged, the target is marked as unfinished: continue with `ifPresent: 'resume'`.
 */
export async function copyStorage(
  from: CopySource,
  to: StorageProvider,
  options: CopyStorageOptions = {},
): Promise<CopiedStorage> {
  const databases = await new CopyRun(from, to, resolveStorageOptions(options)).run();
  return {
    databases,
    rows: databases.reduce((sum, { rows }) => sum + rows, 0),
    sha256: await hashOfDatabases(databases),
  };
}

/**
 * Copies one database, that of a tenant or one by name. `INVALID_OPTION` also if the source does
 * not contain it; otherwise like `copyStorage`.
 */
export async function copyDatabase(
  from: CopySource,
  to: StorageProvider,
  options: CopyDatabaseOptions,
): Promise<CopiedDatabase> {
  const { database, ...settings } = resolveDatabaseOptions(options);
  const [copied] = await new CopyRun(from, to, settings, database).run();
  return copied as CopiedDatabase;
}
