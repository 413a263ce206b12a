/** Removes what a generation that is not read any more has written, in pages. */
import { limits, type KeyValueStorage } from '@kvent/key-value-storage/core';
import { databaseOf, locate, sharedDatabase } from '@kvent/key-value-storage/internal';
import type { Checkpoints } from './checkpoints.js';
import type { GenerationStates, StateSpace } from './generation-states.js';

/**
 * May be interrupted at any point and called again. The checkpoints are removed first: a worker
 * that has been asleep conflicts with them, and writes nothing more. Returns the number of rows.
 */
export async function removeGeneration(
  storage: KeyValueStorage,
  checkpoints: Checkpoints,
  states: GenerationStates,
  signal: AbortSignal,
): Promise<number> {
  let removed = 0;
  const tenants = await storage.tenants();
  for (const database of [sharedDatabase, ...tenants.map(databaseOf)]) {
    await checkpoints.removeFrom(database, signal);
    for await (const space of states.recorded(signal))
      removed += await removeRows(storage, database, space, signal);
  }
  await checkpoints.removeShared(signal);
  await states.forget(signal);
  return removed;
}

async function removeRows(
  storage: KeyValueStorage,
  database: string,
  { container, entity, provider }: StateSpace,
  signal: AbortSignal,
): Promise<number> {
  const what = 'states of a projection';
  const { access } = locate(storage, { what, scope: 'shared', provider });
  const range = { database, container, entity, limit: limits.batchEntriesMax, values: 'omit' } as const;
  let removed = 0;
  for await (const { rows } of access.scanPages(range, { signal })) {
    const changes = rows.map(({ key }) => ({ kind: 'delete', address: { container, entity, key } }) as const);
    if (changes.length > 0) await access.commit(database, { checks: [], changes });
    removed += changes.length;
  }
  return removed;
}
