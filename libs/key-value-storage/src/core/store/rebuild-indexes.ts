/** Builds the indexes of states again, for the command line. */
import { StorageAccess } from '../commit/storage-access.js';
import { retryDefaults } from '../contention/retry-on-conflict.js';
import { isStorageError } from '../base/errors.js';
import { definitionOf, type ResolvedState } from './state-definition.js';
import { StateRows } from './state-rows.js';
import type { StorageProvider } from '../port/storage-provider.js';
import { databaseVersions } from '../port/version.js';

/** The states with indexes among the exports of a module. */
export function indexedStatesIn(exported: object): readonly ResolvedState[] {
  const states = Object.values(exported).flatMap((each) => stateIn(each) ?? []);
  return [...new Set(states)].filter(({ indexes }) => indexes !== undefined);
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
  const access = new StorageAccess({
    provider,
    nextVersion: databaseVersions(),
    retry: retryDefaults,
    assertOpen: () => undefined,
    detached: (_, work) => work(),
  });
  const { indexed } = new StateRows(access, state, () => database);
  if (indexed === undefined) return [];
  await indexed.statuses.rebuild(database);
  return indexed.indexes.map(({ name }) => name);
}
