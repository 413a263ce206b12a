/**
 * The mark of an unfinished copy: a row that is put before the first row is copied, and taken away
 * when all were compared. Whatever breaks a copy off, a killed process too, leaves it; so nobody
 * takes half a copy for a whole one, and to begin again is known to cost nothing else.
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

const markOf = (database: string): Address => ({
  database,
  container: `${copyKind}unfinished`,
  entity: '',
  key: 'copy',
});

/** What a mark says: where the rows came from, and when. */
interface Mark {
  readonly from: string;
  readonly startedAt: number;
}

/**
 * In words: "an unfinished copy of JSON file ./data, begun at …". `undefined` where there is no
 * mark.
 */
export async function unfinishedCopy(
  storage: Pick<StorageProvider, 'read'>,
  database: string,
): Promise<string | undefined> {
  const { rows } = await storage.read([markOf(database)]);
  const value = rows[0]?.value;
  if (value?.kind !== 'json') return undefined;
  const { from, startedAt } = readMark(value.text);
  const begun = typeof startedAt === 'number' ? new Date(startedAt) : undefined;
  const when =
    begun === undefined || Number.isNaN(begun.getTime()) ? 'at an unknown time' : `at ${begun.toISOString()}`;
  return `an unfinished copy of ${typeof from === 'string' ? printable(from) : 'an unknown storage'}, begun ${when}`;
}

/** A mark that cannot be read is a mark all the same: what is there is no whole copy. */
function readMark(text: string): Partial<Record<keyof Mark, unknown>> {
  try {
    return (JSON.parse(text) ?? {}) as ReturnType<typeof readMark>;
  } catch {
    return {};
  }
}

/**
 * Marks a database of the target; answers the version of the mark. `INVALID_OPTION` when another
 * copy was faster.
 */
export async function putMark(to: StorageProvider, database: string, from: CopySource): Promise<Version> {
  const { database: _, ...address } = markOf(database);
  const { time } = await to.read([markOf(database)]);
  const mark: Mark = { from: from.name, startedAt: time };
  const version = versionSource()();
  const result = await commit(to, {
    database,
    version,
    checks: [{ address, expected: 'absent' }],
    changes: [{ kind: 'put', address, value: { kind: 'json', text: JSON.stringify(mark) }, ttl: 'never' }],
  });
  if (result.outcome === 'committed') return version;
  throw invalidOption(`Another copy into '${database}' of ${to.name} began at the same time.`);
}

/** The copy is whole. `INVALID_OPTION` when the mark is another copy's by now. */
export async function removeMark(to: StorageProvider, database: string, version: Version): Promise<void> {
  const { database: _, ...address } = markOf(database);
  const result = await commit(to, {
    database,
    version: versionSource()(),
    checks: [{ address, expected: { version } }],
    changes: [{ kind: 'delete', address }],
  });
  if (result.outcome !== 'committed')
    throw invalidOption(`Somebody else changed '${database}' of ${to.name} while it was copied to.`);
}

const probeTtlMs = 60_000;

/**
 * `INVALID_OPTION` where source and target are one and the same place, by whatever two names: to
 * clear the target would be to lose the source. A row that nobody asks for is put into the target,
 * looked for in the source, and taken away.
 */
export async function assertElsewhere(
  from: CopySource,
  to: StorageProvider,
  database: string,
): Promise<void> {
  const address = { container: `${copyKind}probe`, entity: '', key: crypto.randomUUID() };
  const put = {
    kind: 'put',
    address,
    value: { kind: 'json', text: '"where am I?"' },
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
    throw invalidOption(`Source and target are the same storage: ${from.name} and ${to.name}.`);
}

async function commit(to: StorageProvider, batch: Batch): Promise<CommitResult> {
  const [result] = await to.commit([batch]);
  if (result?.outcome === 'failed') throw result.error;
  return result as CommitResult;
}
