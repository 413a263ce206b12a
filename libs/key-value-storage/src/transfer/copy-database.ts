/**
 * Moves databases from one storage to another: every row with its version and its times, so that
 * etags of clients and expiries outlive the move. Only a target that holds nothing is written to,
 * and a mark stands there until all rows were read back and compared with the source.
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
 * Copies every database of `from` to `to`, both open. When it answers, both sides hold the same
 * rows: the target was read back, and compared row by row. Versions, times and expiries stay;
 * expired rows and the leases of sessions stay behind. Memory stays flat.
 *
 * The source is frozen meanwhile where its provider can (`administration.freeze`). Else nobody may
 * write to it; a row that is written while it is copied is found when it is compared, and is an
 * error.
 *
 * - `INVALID_OPTION`: the target holds something (see `ifPresent`), source and target are one, the
 *   source is itself an unfinished copy. Nothing was written.
 * - `STORAGE_CORRUPT`: a row is missing in the target, or not the same. `place` names it.
 * - Whatever else breaks it off, `ABORTED` too, keeps its code. `done`: how many rows were handed
 *   over. The source is as it was, the target is marked as unfinished: begin again with `ifPresent:
 *   'resume'`.
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
 * Copies one database: a tenant's, or one by its name. `INVALID_OPTION` too where the source does
 * not hold it; all else as `copyStorage` does.
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
