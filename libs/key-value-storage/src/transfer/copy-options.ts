/** What a copy takes, and what it tells while it runs. */
import { invalidOption, resolveOptions } from '../core/base/options.js';
import type { Space } from '../core/port/storage-provider.js';
import { databaseOf } from '../core/store/tenant.js';

export interface CopyStorageOptions {
  /**
   * What becomes of a database that the target holds already. `refuse`: nothing is copied at all.
   * `resume`: what an earlier copy left unfinished is dropped and copied anew, what is the same as
   * in the source stays, anything else is refused. `replace`: it is dropped, whatever it holds.
   * @default 'refuse'
   */
  readonly ifPresent?: 'refuse' | 'resume' | 'replace';
  /**
   * Hears how far it is: as each step begins and ends, and every 500 rows. What it throws is
   * ignored.
   */
  readonly onProgress?: (progress: CopyProgress) => void;
  /** Breaks the copy off at the next row. */
  readonly signal?: AbortSignal | undefined;
}

/** Which database: one of the two. */
export interface CopyDatabaseOptions extends CopyStorageOptions {
  /** The database of this tenant. */
  readonly tenant?: string;
  /**
   * The database of this name: `shared`, or another one that `administration.databases()` lists.
   */
  readonly database?: string;
}

export interface CopyProgress {
  /** Each database is copied, and later compared. */
  readonly step: 'copying' | 'comparing';
  readonly database: string;
  /** The how-manieth it is of this step, from 1. */
  readonly number: number;
  readonly databases: number;
  /** Rows of this database and step until now. */
  readonly rows: number;
  /** How many they will be, about; `undefined` where that is not cheap to know. */
  readonly total: number | undefined;
  /** Where the last of them is; `undefined` before the first. */
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
    throw invalidOption(
      "copyDatabase copies one database: it takes a 'tenant' or a 'database', and both were given.",
    );
  return { ...checked('copyDatabase', settings), database: database ?? databaseOf(tenant) };
}

function checked(owner: string, settings: CopySettings): CopySettings {
  if (['refuse', 'resume', 'replace'].includes(settings.ifPresent)) return settings;
  throw invalidOption(
    `${owner}: ifPresent is 'refuse', 'resume' or 'replace'; given was ${String(settings.ifPresent)}.`,
  );
}
