/**
 * The head of a stream: one row that every writer checks and changes. It is the plain number N
 * while the stream is free, and a small object while a session holds it or after a delete. Once
 * there are events, it is never removed.
 */
import type { Address, Row, StoredValue } from '@kvent/key-value-storage/provider';
import { corrupt } from './stream-addresses.js';
import type { StreamRows } from './stream-rows.js';

export type Head =
  /** `row`: undefined when there is no head yet. */
  | { readonly kind: 'free'; readonly version: number; readonly row: Row | undefined }
  /** `session`: the last holder; it still holds the stream while the lease exists. */
  | { readonly kind: 'held'; readonly version: number; readonly session: string; readonly row: Row }
  | { readonly kind: 'deleted'; readonly version: number; readonly row: Row };

export const freeHead = (version: number): StoredValue => ({ kind: 'number', number: BigInt(version) });
export const heldHead = (version: number, session: string): StoredValue => json({ version, session });
export const deletedHead = (version: number): StoredValue => json({ version, deleted: true });

const json = (value: object): StoredValue => ({ kind: 'json', text: JSON.stringify(value) });

/** Decodes the row of a head; `STORAGE_CORRUPT` when it is not one. */
export function headIn(address: Address, row: Row | undefined): Head {
  if (row === undefined) return { kind: 'free', version: 0, row };
  const { value } = row;
  if (value.kind === 'number') return { kind: 'free', version: Number(value.number), row };
  const { version, session, deleted } = value.kind === 'json' ? parse(value.text) : {};
  if (typeof version === 'number' && deleted === true) return { kind: 'deleted', version, row };
  if (typeof version === 'number' && typeof session === 'string')
    return { kind: 'held', version, session, row };
  throw corrupt(address, 'it is not the head of a stream');
}

/** Reads and decodes the head. */
export async function readHead({ access, head }: StreamRows, signal: AbortSignal | undefined): Promise<Head> {
  return headIn(head, (await access.readOne(head, { signal })).row);
}

function parse(text: string): {
  readonly version?: unknown;
  readonly session?: unknown;
  readonly deleted?: unknown;
} {
  try {
    return (JSON.parse(text) ?? {}) as ReturnType<typeof parse>;
  } catch {
    return {};
  }
}
