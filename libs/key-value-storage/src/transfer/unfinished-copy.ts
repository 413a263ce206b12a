/**
 * Marks an unfinished copy: a row that is written before the first row is copied, and deleted once
 * all rows are compared. An interrupted copy, also of a killed process, leaves it, so a part of a
 * copy is never mistaken for the whole, and can be dropped without losing anything else.
 */
import { copyKind, type CopySource } from './copy-source.js';
import { invalidOption } from '../core/base/options.js';
import { printable } from '../core/base/printable.js';
import type {
  Address,
  Batch,
  CommitResult,
  StorageProvider,
  Version,
} from '../core/port/storage-provider.js';
import { versionSource } from '../core/port/version.js';

const markerAddress = (database: string): Address => ({
  database,
  container: `${copyKind}unfinished`,
  entity: '',
  key: 'copy',
});

/** The source of the rows, and the time. */
interface Marker {
  readonly from: string;
  readonly startedAt: number;
}

/** "an unfinished copy of JSON file ./data, started at …"; `undefined` if there is no marker. */
export async function unfinishedCopy(
  storage: Pick<StorageProvider, 'read'>,
  database: string,
): Promise<string | undefined> {
  const { rows } = await storage.read([markerAddress(database)]);
  const value = rows[0]?.value;
  if (value?.kind !== 'json') return undefined;
  const { from, startedAt } = readMarker(value.text);
  const started = typeof startedAt === 'number' ? new Date(startedAt) : undefined;
  const when =
    started === undefined || Number.isNaN(started.getTime())
      ? 'at an unknown time'
      : `at ${started.toISOString()}`;
  return `an unfinished copy of ${typeof from === 'string' ? printable(from) : 'an unknown storage'}, started ${when}`;
}

/** A marker that cannot be read still marks an unfinished copy. */
function readMarker(text: string): Partial<Record<keyof Marker, unknown>> {
  try {
    return (JSON.parse(text) ?? {}) as ReturnType<typeof readMarker>;
  } catch {
    return {};
  }
}

/**
 * Marks a database of the target as unfinished; returns the version of the marker. `INVALID_OPTION`
 * if another copy started first.
 */
export async function markUnfinished(
  to: StorageProvider,
  database: string,
  from: CopySource,
): Promise<Version> {
  const { database: _, ...address } = markerAddress(database);
  const { time } = await to.read([markerAddress(database)]);
  const marker: Marker = { from: from.name, startedAt: time };
  const version = versionSource()();
  const result = await commit(to, {
    database,
    version,
    checks: [{ address, expected: 'absent' }],
    changes: [{ kind: 'put', address, value: { kind: 'json', text: JSON.stringify(marker) }, ttl: 'never' }],
  });
  if (result.outcome === 'committed') return version;
  throw invalidOption(`Another copy into '${database}' of ${to.name} started at the same time.`);
}

/** Removes the marker. `INVALID_OPTION` if it belongs to another copy by now. */
export async function markFinished(to: StorageProvider, database: string, version: Version): Promise<void> {
  const { database: _, ...address } = markerAddress(database);
  const result = await commit(to, {
    database,
    version: versionSource()(),
    checks: [{ address, expected: { version } }],
    changes: [{ kind: 'delete', address }],
  });
  if (result.outcome !== 'committed')
    throw invalidOption(`Another process changed '${database}' of ${to.name} during the copy.`);
}

const probeTtlMs = 60_000;

/**
 * `INVALID_OPTION` if source and target are the same storage under two names: dropping the target
 * would destroy the source. A probe row is written to the target, looked up in the source, and
 * deleted.
 */
export async function assertDifferentStorages(
  from: CopySource,
  to: StorageProvider,
  database: string,
): Promise<void> {
  const address = { container: `${copyKind}probe`, entity: '', key: crypto.randomUUID() };
  const put = {
    kind: 'put',
    address,
    value: { kind: 'json', text: '"probe"' },
    ttl: probeTtlMs,
  } as const;
  await commit(to, { database, version: versionSource()(), checks: [], changes: [put] });
  const { rows } = await from.read([{ database, ...address }]);
  await commit(to, {
    database,
    version: versionSource()(),
    checks: [],
    changes: [{ kind: 'delete', address }],
  });
  if (rows[0] !== undefined)
    throw invalidOption(`Source and target must not be the same storage; got ${from.name} and ${to.name}.`);
}

async function commit(to: StorageProvider, batch: Batch): Promise<CommitResult> {
  const [result] = await to.commit([batch]);
  if (result?.outcome === 'failed') throw result.error;
  return result as CommitResult;
}
