/** The row that says by which definition an index is made, and whether it is complete. */
import { storageError } from '../base/errors.js';
import { indexContainerOf, type ResolvedIndex } from './index-definition.js';
import type { Address, Change, Check, Row, Space, StorageProvider } from '../port/storage-provider.js';

export interface IndexStatus {
  /** Of the current definition. */
  readonly hash: string;
  /**
   * 'claimed': processes with another definition may still read their index. 'failed': the build
   * found what the index does not allow.
   */
  readonly status: 'claimed' | 'building' | 'ready' | 'failed';
  /** Where the build continues: the last encoded key that it has indexed. */
  readonly after?: string | undefined;
  /** Why the build failed. */
  readonly why?: string | undefined;
  /** Hashes of earlier definitions, whose rows are to be deleted. */
  readonly old: readonly string[];
}

export interface ReadStatus extends IndexStatus {
  readonly rowVersion: string;
  /** Milliseconds since it was written. */
  readonly ageMs: number;
}

export function readStatus(
  { database, container, entity, key }: Address,
  row: Row | undefined,
  time: number,
): ReadStatus | undefined {
  if (row === undefined) return undefined;
  const status = row.value.kind === 'json' ? statusIn(row.value.text) : undefined;
  if (status === undefined) {
    const place = `${database}/${container}/${entity}/${key}`;
    throw storageError('STORAGE_CORRUPT', `The status of an index at ${place} cannot be read.`, { place });
  }
  return { ...status, rowVersion: row.version, ageMs: time - row.updatedAt };
}

function statusIn(text: string): IndexStatus | undefined {
  try {
    const given = JSON.parse(text) as Partial<IndexStatus> | null;
    return typeof given?.hash === 'string' && typeof given.status === 'string' && Array.isArray(given.old)
      ? (given as IndexStatus)
      : undefined;
  } catch {
    return undefined;
  }
}

export function statusChange(
  { statusRow }: Pick<ResolvedIndex, 'statusRow'>,
  { hash, status, after, why, old }: IndexStatus,
): Change {
  const text = JSON.stringify({ hash, status, after, why, old });
  return { kind: 'put', address: statusRow, value: { kind: 'json', text }, ttl: 'never' };
}

/** Makes all ready indexes of a state unready, for a writer that does not know their functions. */
export async function unreadyIndexes(
  provider: Pick<StorageProvider, 'scan'>,
  { database, container, entity }: Space,
): Promise<{ readonly checks: readonly Check[]; readonly changes: readonly Change[] }> {
  const space = { container: indexContainerOf(container), entity };
  // a state has few indexes, and few names of earlier ones
  const [page] = await provider.scan([{ database, ...space, limit: 100 }]);
  const checks: Check[] = [];
  const changes: Change[] = [];
  for (const { key, row } of page?.rows ?? []) {
    const status = row.value.kind === 'json' ? statusIn(row.value.text) : undefined;
    if (status === undefined) continue;
    const statusRow = { ...space, key };
    const { hash, old } = status;
    checks.push({ address: statusRow, expected: { version: row.version } });
    changes.push(statusChange({ statusRow }, { hash, status: 'building', old }));
  }
  return { checks, changes };
}
