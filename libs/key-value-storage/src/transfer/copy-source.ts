/** The source of a copy, and the rows that are copied. */
import type { RawRow, StorageAdministration, StorageProvider } from '../core/port/storage-provider.js';

/** An open storage provider, or a substitute, such as a backup. */
export interface CopySource extends Pick<StorageProvider, 'name' | 'read'> {
  readonly features?: Pick<StorageProvider['features'], 'shared'>;
  readonly administration: Pick<StorageAdministration, 'databases' | 'export' | 'count' | 'freeze'>;
}

/** The kind of the row that marks an unfinished copy. */
export const copyKind = 'copy:';

/**
 * Leases are not copied: a lease belongs to a session of a running process, which is not moved. The
 * head of its stream is copied unchanged: a held head without a lease is what a crashed session
 * leaves, and the next append or session takes it over. Fences are copied, so fencing tokens keep
 * growing.
 */
const leaseKind = 'lease:';

/** The rows to copy; counts the leases that are left out. */
export class CopiedRows implements AsyncIterable<RawRow> {
  leases = 0;
  readonly #source: CopySource;
  readonly #database: string;

  constructor(source: CopySource, database: string) {
    this.#source = source;
    this.#database = database;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<RawRow, undefined> {
    for await (const raw of this.#source.administration.export(this.#database)) {
      if (raw.container.startsWith(leaseKind)) this.leases += 1;
      else if (!raw.container.startsWith(copyKind)) yield raw;
    }
    return undefined;
  }
}

/**
 * The number of rows, if it is cheap to know: the provider counts, or has its rows in this process.
 */
export async function countRows(
  { administration, features }: CopySource,
  database: string,
): Promise<number | undefined> {
  if (administration.count !== undefined) return await administration.count(database);
  if (features?.shared !== false) return undefined;
  let count = 0;
  for await (const _ of administration.export(database)) count += 1;
  return count;
}
