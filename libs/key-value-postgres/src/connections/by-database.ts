/** Splits calls by database: a statement under row-level security sees one database. */
import type { Address, Batch, CommitResult, ReadResult } from '@kvent/key-value-storage/provider';

/** The indexes of each database's items. */
function indexesOf(items: readonly { readonly database: string }[]): ReadonlyMap<string, readonly number[]> {
  const indexes = new Map<string, number[]>();
  for (const [index, { database }] of items.entries()) {
    const found = indexes.get(database);
    if (found === undefined) indexes.set(database, [index]);
    else found.push(index);
  }
  return indexes;
}

/** The rows of each database are one consistent view; the time is the latest. */
export async function readByDatabase(
  addresses: readonly Address[],
  read: (database: string, addresses: readonly Address[]) => Promise<ReadResult>,
): Promise<ReadResult> {
  const rows: ReadResult['rows'][number][] = [];
  const times = await Promise.all(
    [...indexesOf(addresses)].map(async ([database, indexes]) => {
      const found = await read(
        database,
        indexes.map((index) => addresses[index] as Address),
      );
      for (const [place, index] of indexes.entries()) rows[index] = found.rows[place];
      return found.time;
    }),
  );
  return { time: Math.max(...times), rows };
}

export async function commitByDatabase(
  batches: readonly Batch[],
  commit: (
    database: string,
    batches: readonly Batch[],
    indexes: readonly number[],
  ) => Promise<readonly CommitResult[]>,
): Promise<readonly CommitResult[]> {
  const results: CommitResult[] = [];
  await Promise.all(
    [...indexesOf(batches)].map(async ([database, indexes]) => {
      const found = await commit(
        database,
        indexes.map((index) => batches[index] as Batch),
        indexes,
      );
      for (const [place, index] of indexes.entries()) results[index] = found[place] as CommitResult;
    }),
  );
  return results;
}
