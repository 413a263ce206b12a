/**
 * Finds the snapshot that a load starts from. A snapshot that cannot be read is ignored with a log
 * entry, and the next older one is used: losing snapshots only makes loads slower.
 */
import type { ScannedRow, ScanRange } from '@kvent/key-value-storage/provider';
import { decodeStored } from '@kvent/key-value-storage/internal';
import type { StreamObserver } from '../definition/stream-observer.js';
import { numbersIn } from '../rows/stream-addresses.js';
import { snapshotKey, type StreamRows } from '../rows/stream-rows.js';

export interface Snapshot {
  readonly version: number;
  readonly state: unknown;
}

interface LoadContext {
  readonly observer: StreamObserver;
  readonly signal: AbortSignal | undefined;
}

/** The snapshots of the current schemaVersion; with `version`, those that are not later. */
export function snapshotRange(rows: StreamRows, version?: number): Omit<ScanRange, 'limit'> {
  const { schemaVersion } = rows.definition.snapshot;
  return {
    ...rows.rangeOf('snapshot'),
    start: snapshotKey(schemaVersion, 1),
    end: version === undefined ? snapshotKey(schemaVersion + 1, 0) : snapshotKey(schemaVersion, version + 1),
  };
}

/** The newest snapshot of any schemaVersion; with `version`, the newest usable one not later. */
export const snapshotsUpTo = (rows: StreamRows, version: number | undefined): ScanRange => ({
  ...(version === undefined ? rows.rangeOf('snapshot') : snapshotRange(rows, version)),
  reverse: true,
  limit: 1,
});

/**
 * Starts with the row that `snapshotsUpTo` found, and continues with older ones until one is
 * usable.
 */
export async function newestSnapshot(
  rows: StreamRows,
  first: ScannedRow | undefined,
  end: number,
  context: LoadContext,
): Promise<Snapshot | undefined> {
  let row = first;
  const [schemaVersion, version = 0] = first === undefined ? [] : numbersOf(first);
  const current = rows.definition.snapshot.schemaVersion;
  if (first !== undefined && (schemaVersion !== current || version > end)) {
    const reason = `it has schemaVersion ${String(schemaVersion)}, and the current one is ${current}`;
    if (schemaVersion !== current) logIgnored(rows, context.observer, version, reason);
    row = await olderThan(rows, end + 1, context);
  }
  for (; row !== undefined; row = await olderThan(rows, numbersOf(row)[1] ?? 1, context)) {
    const snapshot = decodeSnapshot(rows, row, context);
    if (snapshot !== undefined) return snapshot;
  }
  return undefined;
}

export function logIgnored(
  { definition: { type }, id, database }: StreamRows,
  observer: StreamObserver,
  version: number,
  reason: string,
  cause?: unknown,
): void {
  const fields = { type, id, database, version, reason, ...(cause !== undefined && { cause }) };
  observer.observe({ event: 'snapshot ignored', ...fields });
}

/** The schemaVersion and the version in the key of a snapshot's row. */
export const numbersOf = ({ key }: ScannedRow): readonly (number | undefined)[] => numbersIn(key) ?? [];

async function olderThan(
  rows: StreamRows,
  version: number,
  { signal }: LoadContext,
): Promise<ScannedRow | undefined> {
  if (version <= 1) return undefined;
  const [page] = await rows.access.scan([snapshotsUpTo(rows, version - 1)], { signal });
  return page.rows[0];
}

function decodeSnapshot(
  rows: StreamRows,
  scanned: ScannedRow,
  { observer }: LoadContext,
): Snapshot | undefined {
  const version = numbersOf(scanned)[1] as number;
  const { value } = scanned.row;
  try {
    if (value.kind !== 'json') throw new SyntaxError(`it is ${value.kind}, not JSON`);
    return { version, state: decodeStored(value).value };
  } catch (cause) {
    logIgnored(rows, observer, version, 'it cannot be read', cause);
    return undefined;
  }
}
