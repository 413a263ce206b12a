/** The row that says by which definition an index is made, and whether it is complete. */
import { storageError } from '../base/errors.js';
import type { ResolvedIndex } from './index-definition.js';
import type { Address, Change, Row } from '../port/storage-provider.js';

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
