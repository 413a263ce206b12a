/** The few words in which the specs of the Postgres provider speak to its port. */
import type { StorageProvider } from '@kvent/key-value-storage/core';
import {
  versionSource,
  type Address,
  type Batch,
  type Change,
  type Check,
  type CommitResult,
} from '@kvent/key-value-storage/provider';

const versions = versionSource();

export const addressOf = (key: string, database = 'shared'): Address => ({
  database,
  container: 'state:spec',
  entity: 'thing',
  key,
});

/** One put of JSON text, checked where `expected` says so. */
export function putBatch(
  key: string,
  text: string,
  expected?: Check['expected'],
  database = 'shared',
): Batch {
  const { container, entity } = addressOf(key);
  const address = { container, entity, key };
  return {
    database,
    version: versions(),
    checks: expected === undefined ? [] : [{ address, expected }],
    changes: [{ kind: 'put', address, value: { kind: 'json', text }, ttl: 'never' }],
  };
}

export function batchOf(
  changes: readonly Change[],
  checks: readonly Check[] = [],
  database = 'shared',
): Batch {
  return { database, version: versions(), checks, changes };
}

/** Commits one batch, and answers what became of it; what failed is thrown. */
export async function commitOne(provider: StorageProvider, batch: Batch): Promise<CommitResult> {
  const [result] = await provider.commit([batch]);
  if (result === undefined) throw new Error('A batch was given no answer.');
  if (result.outcome === 'failed') throw result.error;
  return result;
}

/** Writes a row. */
export async function write(
  provider: StorageProvider,
  key: string,
  text: string,
  database = 'shared',
): Promise<void> {
  const { outcome } = await commitOne(provider, putBatch(key, text, undefined, database));
  if (outcome !== 'committed')
    throw new Error(`A put that nothing stands against was answered with '${outcome}'.`);
}

/** The JSON text at a key. */
export async function textAt(
  provider: StorageProvider,
  key: string,
  database = 'shared',
): Promise<string | undefined> {
  const value = (await provider.read([addressOf(key, database)])).rows[0]?.value;
  return value?.kind === 'json' ? value.text : undefined;
}

/** Opens providers for a piece of work, and closes them in any case. */
export async function opened<R, P extends StorageProvider>(
  providers: P | readonly P[],
  work: () => Promise<R>,
): Promise<R> {
  const all = 'open' in providers ? [providers] : providers;
  const opening = await Promise.allSettled(all.map(async (provider) => await provider.open()));
  try {
    for (const result of opening) if (result.status === 'rejected') throw result.reason;
    return await work();
  } finally {
    for (const provider of all) await provider.close();
  }
}
