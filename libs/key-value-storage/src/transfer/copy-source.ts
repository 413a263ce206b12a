/** Where copied rows come from, and which of its rows go along. */
import type { RawRow, StorageAdministration, StorageProvider } from '../core/port/storage-provider.js';

/** An open storage provider, or what can answer like one: a backup, say. */
export interface CopySource extends Pick<StorageProvider, 'name' | 'read'> {
  readonly features?: Pick<StorageProvider['features'], 'shared'>;
  readonly administration: Pick<StorageAdministration, 'databases' | 'export' | 'count' | 'freeze'>;
}

/** The mark of an unfinished copy is a row of this kind. */
export const copyKind = 'copy:';

/**
 * Leases stay behind: they say that a session of a running process holds a stream, and that process
 * is not moved. A head that such a session holds goes along as it is: a held head without a lease
 * is what a session that died leaves, and the next append or session takes such a head over. The
 * fences go along, so fencing tokens keep growing.
 */
const leaseKind = 'lease:';

/** Rows that were read, and what stayed behind of them. */
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
 * How many rows there are, if that is cheap to know: where the engine counts, or holds its rows in
 * this process.
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
