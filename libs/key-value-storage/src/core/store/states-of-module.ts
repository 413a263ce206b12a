/** Works on the states that a module exports, for the command line. */
import { StorageAccess } from '../commit/storage-access.js';
import { retryDefaults } from '../contention/retry-on-conflict.js';
import { isStorageError } from '../base/errors.js';
import { CoalescingProvider } from '../providers/coalescing-provider.js';
import type { KeyValueStore } from './key-value-store.js';
import { definitionOf, type ResolvedState } from './state-definition.js';
import { StateRows } from './state-rows.js';
import { resolvePoll } from '../watch/poll-options.js';
import { TypedStore } from './typed-store.js';
import type { StorageProvider } from '../port/storage-provider.js';
import { databaseVersions } from '../port/version.js';

/** The states among the exports of a module. */
export function statesIn(exported: object): readonly ResolvedState[] {
  return [...new Set(Object.values(exported).flatMap((each) => stateIn(each) ?? []))];
}

function stateIn(exported: unknown): ResolvedState | undefined {
  try {
    return definitionOf(exported);
  } catch (error) {
    if (isStorageError(error, 'INVALID_OPTION')) return undefined;
    throw error;
  }
}

/**
 * Builds every index of a state in one database of an open provider, and returns their names.
 * `INDEX_NOT_READY` where one cannot be built.
 */
export async function rebuildIndexes(
  provider: StorageProvider,
  state: ResolvedState,
  database: string,
): Promise<readonly string[]> {
  const access = accessTo(provider);
  const { indexed } = new StateRows(access, state, () => database);
  if (indexed === undefined) return [];
  await indexed.statuses.rebuild(database);
  return indexed.indexes.map(({ name }) => name);
}

/** The store of a state in one database of an open provider. */
export function storeOn(
  provider: StorageProvider,
  state: ResolvedState,
  database: string,
): KeyValueStore<unknown> {
  return new TypedStore(accessTo(provider), state, () => database);
}

const accessTo = (provider: StorageProvider): StorageAccess =>
  new StorageAccess({
    provider: provider.features.coalesce ? new CoalescingProvider(provider) : provider,
    nextVersion: databaseVersions(),
    retry: retryDefaults,
    poll: resolvePoll(),
    assertOpen: () => undefined,
    detached: (_, work) => work(),
  });
