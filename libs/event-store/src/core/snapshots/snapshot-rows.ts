/** Writes, lists and removes snapshots: states stored so that a load need not start at event 1. */
import { isStorageError, limits } from '@kvent/key-value-storage/core';
import type { Change } from '@kvent/key-value-storage/provider';
import {
  assertWithin,
  encodeValue,
  partlyDone,
  type OptionalChange,
} from '@kvent/key-value-storage/internal';
import type { StreamObserver } from '../definition/stream-observer.js';
import type { StreamRows } from '../rows/stream-rows.js';
import { logIgnored, numbersOf, snapshotRange, type Snapshot } from './newest-snapshot.js';

const clearedAtOnce = 500;

/** Whether an append crosses a multiple of `every`. */
export const crossesInterval = (every: number | undefined, before: number, after: number): boolean =>
  every !== undefined && Math.floor(before / every) < Math.floor(after / every);

/**
 * The change that stores a state. `INVALID_VALUE` for a state that cannot be stored,
 * `LIMIT_EXCEEDED` above 900 KB.
 */
function snapshotChange(rows: StreamRows, { version, state }: Snapshot): Change {
  const what = `the snapshot of ${rows.name} at version ${version}`;
  const { text } = encodeValue(state, () => what, { schemaVersion: 1 });
  assertWithin('valueBytesMax', text, what);
  return { kind: 'put', address: rows.snapshot(version), value: { kind: 'json', text }, ttl: 'never' };
}

/**
 * The change that stores a snapshot in the batch of an append. It is left out, with a log entry,
 * when the state cannot be stored or the whole batch has no room for it.
 */
export function snapshotBesideEvents(
  rows: StreamRows,
  snapshot: Snapshot,
  observer: StreamObserver,
): OptionalChange | undefined {
  const { version } = snapshot;
  try {
    return {
      change: snapshotChange(rows, snapshot),
      committed: (isStored) => {
        if (isStored) logCreated(rows, observer, version);
        else logIgnored(rows, observer, version, 'the commit has no room for it');
      },
    };
  } catch (cause) {
    logIgnored(rows, observer, version, 'the state cannot be stored, or is too large', cause);
    return undefined;
  }
}

function logCreated(
  { definition: { type }, id, database }: StreamRows,
  observer: StreamObserver,
  version: number,
): void {
  observer.observe({ event: 'snapshot created', type, id, database, version });
}

/** Stores a snapshot. Returns false for a deleted stream, which has no event 1. */
export async function putSnapshot(
  rows: StreamRows,
  snapshot: Snapshot,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const check = { address: rows.event(1), expected: 'present' } as const;
  const content = { checks: [check], changes: [snapshotChange(rows, snapshot)] };
  const result = await rows.access.commit(rows.database, content, { signal });
  return result.outcome === 'committed';
}

/** The versions that have a snapshot of the current schemaVersion, in order. */
export async function snapshotVersions(
  rows: StreamRows,
  signal: AbortSignal | undefined,
): Promise<readonly number[]> {
  const versions: number[] = [];
  const range = { ...snapshotRange(rows), limit: limits.pageItemsMax, values: 'omit' } as const;
  for await (const page of rows.access.scanPages(range, { signal }))
    versions.push(...page.rows.map((row) => numbersOf(row)[1] as number));
  return versions;
}

/**
 * Removes snapshots; returns how many there were. An error has the number of those that are removed
 * (`done`).
 */
export async function clearSnapshots(
  rows: StreamRows,
  versions: readonly number[],
  signal: AbortSignal | undefined,
): Promise<number> {
  let cleared = 0;
  try {
    for (let next = 0; next < versions.length; next += clearedAtOnce) {
      const changes = versions
        .slice(next, next + clearedAtOnce)
        .map((version) => ({ kind: 'delete', address: rows.snapshot(version) }) as const);
      const result = await rows.access.commit(rows.database, { checks: [], changes }, { signal });
      if (result.outcome === 'committed') cleared += result.rows.filter(({ existed }) => existed).length;
    }
  } catch (error) {
    throw isStorageError(error) ? partlyDone(error, cleared) : error;
  }
  return cleared;
}
