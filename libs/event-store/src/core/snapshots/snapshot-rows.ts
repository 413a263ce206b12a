/**
 * Snapshots: states kept so that a load need not begin at event 1. They are safe to lose: one that
 * cannot be read gives way to the next older, and in the end to a full replay. Their rows stand
 * under the snapshot schemaVersion first, so that two releases do not overwrite each other's.
 */
import { limits } from '@kvent/key-value-storage/core';
import type { Change, ScanRange, ScannedRow } from '@kvent/key-value-storage/provider';
import {
  assertWithin,
  encodeValue,
  mayHoldTags,
  parseStored,
  reviveFrozen,
  utf8Length,
  type Contribution,
} from '@kvent/key-value-storage/internal';
import type { StreamObserver } from '../definition/stream-observer.js';
import { numbersIn, snapshotKey, type StreamRows } from '../rows/stream-rows.js';

export interface Snapshot {
  readonly version: number;
  readonly state: unknown;
}

interface LoadContext {
  readonly observer: StreamObserver;
  readonly signal: AbortSignal | undefined;
}

/** Rows of an append beside which there is room for a snapshot, a mark and a lease. */
const besideMax = limits.batchEntriesMax - 4;

/** The newest snapshot, or the newest of this schemaVersion that is not later than a version. */
export function snapshotsUpTo(rows: StreamRows, version: number | undefined): ScanRange {
  const space = { ...rows.rangeOf('snapshot'), reverse: true, limit: 1 };
  return version === undefined ? space : { ...space, ...schemaVersionRange(rows, version) };
}

function schemaVersionRange(
  rows: StreamRows,
  version: number | undefined,
): { readonly start: string; readonly end: string } {
  const { schemaVersion } = rows.definition.snapshot;
  return {
    start: snapshotKey(schemaVersion, 1),
    end: version === undefined ? snapshotKey(schemaVersion + 1, 0) : snapshotKey(schemaVersion, version + 1),
  };
}

/**
 * Begins with a row that was found, and goes back from one to the next older until one can be used.
 */
export async function newestSnapshot(
  rows: StreamRows,
  first: ScannedRow | undefined,
  end: number,
  context: LoadContext,
): Promise<Snapshot | undefined> {
  let row = first;
  const [schemaVersion, version] = first === undefined ? [] : numbersOf(first);
  const own = rows.definition.snapshot.schemaVersion;
  if (first !== undefined && (schemaVersion !== own || version === undefined || version > end)) {
    if (schemaVersion !== own)
      reportIgnored(
        rows,
        context,
        version ?? 0,
        `schemaVersion ${String(schemaVersion)} wrote it, and this program's is ${own}`,
      );
    row = await olderThan(rows, end + 1, context);
  }
  for (; row !== undefined; row = await olderThan(rows, numbersOf(row)[1] ?? 1, context)) {
    const snapshot = snapshotIn(rows, row, context);
    if (snapshot !== undefined) return snapshot;
  }
  return undefined;
}

const numbersOf = ({ key }: ScannedRow): readonly (number | undefined)[] => numbersIn(key) ?? [];

async function olderThan(
  rows: StreamRows,
  version: number,
  { signal }: LoadContext,
): Promise<ScannedRow | undefined> {
  if (version <= 1) return undefined;
  const range = {
    ...rows.rangeOf('snapshot'),
    ...schemaVersionRange(rows, version - 1),
    reverse: true,
    limit: 1,
  };
  const [page] = await rows.access.scan([range], { signal });
  return page.rows[0];
}

/** The snapshot of a row; `undefined`, with a warning, where it cannot be read. */
function snapshotIn(rows: StreamRows, scanned: ScannedRow, context: LoadContext): Snapshot | undefined {
  const version = numbersOf(scanned)[1] as number;
  const { value } = scanned.row;
  try {
    if (value.kind !== 'json') throw new SyntaxError(`it is ${value.kind}, not JSON`);
    return { version, state: reviveFrozen(parseStored(value.text).json, mayHoldTags(value.text)).value };
  } catch (cause) {
    reportIgnored(rows, context, version, 'it cannot be read back', cause);
    return undefined;
  }
}

function reportIgnored(
  rows: StreamRows,
  { observer }: LoadContext,
  version: number,
  reason: string,
  cause?: unknown,
): void {
  const { definition, id, database } = rows;
  observer.observe({
    event: 'snapshot ignored',
    type: definition.type,
    id,
    database,
    version,
    reason,
    ...(cause !== undefined && { cause }),
  });
}

/**
 * The change that keeps a state. `INVALID_VALUE` for what cannot be stored, `LIMIT_EXCEEDED` above
 * 900 KB.
 */
function snapshotChange(rows: StreamRows, { version, state }: Snapshot): Change {
  const what = `the snapshot of ${rows.name} at version ${version}`;
  const { text } = encodeValue(state, () => what, { schemaVersion: 1 });
  assertWithin('valueBytesMax', text, what);
  return { kind: 'put', address: rows.snapshot(version), value: { kind: 'json', text }, ttl: 'never' };
}

/**
 * The same as a part of an append; left out, with a warning, where it cannot be stored or does not
 * fit beside the events.
 */
export function snapshotBesideEvents(
  rows: StreamRows,
  snapshot: Snapshot,
  beside: Contribution,
  observer: StreamObserver,
): readonly Change[] {
  try {
    const change = snapshotChange(rows, snapshot);
    const sizeOf = (each: Change): number =>
      each.kind === 'put' && each.value.kind === 'json' ? utf8Length(each.value.text) : 0;
    const [own, others] = [sizeOf(change), beside.changes.reduce((sum, each) => sum + sizeOf(each), 0)];
    // the caller's own changes need room too
    if (own + others > limits.batchBytesMax / 2 || beside.changes.length > besideMax)
      throw new RangeError('it does not fit beside the events');
    return [change];
  } catch (cause) {
    const reason =
      cause instanceof RangeError ? cause.message : 'the state cannot be stored, or is too large';
    reportIgnored(rows, { observer, signal: undefined }, snapshot.version, reason, cause);
    return [];
  }
}

/**
 * Stores a snapshot by itself. Event 1 must be there: a stream that was deleted gets none. Answers
 * whether it was.
 */
export async function putSnapshot(
  rows: StreamRows,
  snapshot: Snapshot,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const change = snapshotChange(rows, snapshot);
  const check = { address: rows.event(1), expected: 'present' } as const;
  const content = { checks: [check], changes: [change] };
  const result = await rows.access.commit(rows.database, content, { signal });
  return result.outcome === 'committed';
}

/** The versions that have a snapshot of this schemaVersion, in order. */
export async function snapshotVersions(
  rows: StreamRows,
  signal: AbortSignal | undefined,
): Promise<readonly number[]> {
  const versions: number[] = [];
  const range: ScanRange = {
    ...rows.rangeOf('snapshot'),
    ...schemaVersionRange(rows, undefined),
    limit: limits.pageItemsMax,
    values: 'omit',
  };
  for await (const page of rows.access.scanPages(range, { signal }))
    versions.push(...page.rows.map((row) => numbersOf(row)[1] as number));
  return versions;
}

/** Whether an append crosses a multiple of `every`. */
export const crossesInterval = (every: number | undefined, before: number, after: number): boolean =>
  every !== undefined && Math.floor(before / every) < Math.floor(after / every);
