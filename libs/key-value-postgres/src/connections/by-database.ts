/**
 * Calls over several databases as calls over one each: a statement under row-level security sees
 * one database.
 */
import type { Address, Batch, CommitResult, ReadResult } from '@kvent/key-value-storage/provider';

/** The places of each database's items. */
function placesOf(items: readonly { readonly database: string }[]): ReadonlyMap<string, readonly number[]> {
  const places = new Map<string, number[]>();
  for (const [index, { database }] of items.entries()) {
    const found = places.get(database);
    if (found === undefined) places.set(database, [index]);
    else found.push(index);
  }
  return places;
}

/** Each database's rows are one consistent view; the time is the latest. */
export async function readByDatabase(
  addresses: readonly Address[],
  read: (database: string, addresses: readonly Address[]) => Promise<ReadResult>,
): Promise<ReadResult> {
  const rows: ReadResult['rows'][number][] = [];
  const times = await Promise.all(
    [...placesOf(addresses)].map(async ([database, places]) => {
      const found = await read(
        database,
        places.map((place) => addresses[place] as Address),
      );
      for (const [index, place] of places.entries()) rows[place] = found.rows[index];
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
    places: readonly number[],
  ) => Promise<readonly CommitResult[]>,
): Promise<readonly CommitResult[]> {
  const results: CommitResult[] = [];
  await Promise.all(
    [...placesOf(batches)].map(async ([database, places]) => {
      const found = await commit(
        database,
        places.map((place) => batches[place] as Batch),
        places,
      );
      for (const [index, place] of places.entries()) results[place] = found[index] as CommitResult;
    }),
  );
  return results;
}
