/** The options and the progress of a copy. */
import { invalidOption, resolveOptions } from '../core/base/options.js';
import type { Space } from '../core/port/storage-provider.js';
import { databaseOf } from '../core/store/tenant.js';

export interface CopyStorageOptions {
  /**
   * What to do with a database that exists in the target. `refuse`: copy nothing at all. `resume`:
   * drop and copy unfinished copies, keep databases that equal the source, refuse others.
   * `replace`: drop it first. @default 'refuse'
   */
  readonly ifPresent?: 'refuse' | 'resume' | 'replace';
  /**
   * Called at the start and the end of each step, and every 500 rows. Exceptions in it are ignored.
   */
  readonly onProgress?: (progress: CopyProgress) => void;
  /** Aborts the copy at the next row. */
  readonly signal?: AbortSignal | undefined;
}

/** Either `tenant` or `database`. */
export interface CopyDatabaseOptions extends CopyStorageOptions {
  readonly tenant?: string;
  /** `shared`, or another name from `administration.databases()`. */
  readonly database?: string;
}

export interface CopyProgress {
  /** Each database is copied, and later compared. */
  readonly step: 'copying' | 'comparing';
  readonly database: string;
  /** 1-based index of this database within the step. */
  readonly number: number;
  readonly databases: number;
  /** Rows of this database in this step so far. */
  readonly rows: number;
  /** The approximate total; `undefined` if it is expensive to know. */
  readonly total: number | undefined;
  /** The space of the last row; `undefined` before the first. */
  readonly space: Space | undefined;
}

const defaults = { ifPresent: 'refuse' as NonNullable<CopyStorageOptions['ifPresent']> };
export type CopySettings = CopyStorageOptions & typeof defaults;

export const resolveStorageOptions = (options: CopyStorageOptions): CopySettings =>
  checked('copyStorage', resolveOptions('copyStorage', options, defaults, ['onProgress', 'signal']));

export function resolveDatabaseOptions(
  options: CopyDatabaseOptions,
): CopySettings & { readonly database: string } {
  const more = ['onProgress', 'signal', 'tenant', 'database'] as const;
  const { tenant, database, ...settings } = resolveOptions('copyDatabase', options, defaults, more);
  if (tenant !== undefined && database !== undefined)
    throw invalidOption("copyDatabase: either 'tenant' or 'database' must be given; got both.");
  return { ...checked('copyDatabase', settings), database: database ?? databaseOf(tenant) };
}

function checked(owner: string, settings: CopySettings): CopySettings {
  if (['refuse', 'resume', 'replace'].includes(settings.ifPresent)) return settings;
  throw invalidOption(
    `${owner}: ifPresent must be 'refuse', 'resume' or 'replace'; got ${String(settings.ifPresent)}.`,
  );
}
