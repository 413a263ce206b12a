/**
 * The head of a stream: the one row where its writers meet. It is the plain number N while the
 * stream is free, a small object while a session holds it or after a delete, and once there it is
 * never removed.
 */
import { storageError, type Address, type Row, type StoredValue } from '@kvent/key-value-storage/provider';

export type Head =
  /** `row`: undefined where there is no head yet. */
  | { readonly kind: 'free'; readonly version: number; readonly row: Row | undefined }
  /** `session`: whose it is, or was: the lease tells whether it still is. */
  | { readonly kind: 'held'; readonly version: number; readonly session: string; readonly row: Row }
  | { readonly kind: 'deleted'; readonly version: number; readonly row: Row };

export const freeHead = (version: number): StoredValue => ({ kind: 'number', number: BigInt(version) });
export const heldHead = (version: number, session: string): StoredValue => json({ version, session });
export const deletedHead = (version: number): StoredValue => json({ version, deleted: true });

const json = (value: object): StoredValue => ({ kind: 'json', text: JSON.stringify(value) });

/** What the head's row says. `STORAGE_CORRUPT` where it is no head. */
export function headIn(address: Address, row: Row | undefined): Head {
  if (row === undefined) return { kind: 'free', version: 0, row };
  const { value } = row;
  if (value.kind === 'number') return { kind: 'free', version: Number(value.number), row };
  const { version, session, deleted } = value.kind === 'json' ? parse(value.text) : {};
  if (typeof version === 'number' && deleted === true) return { kind: 'deleted', version, row };
  if (typeof version === 'number' && typeof session === 'string')
    return { kind: 'held', version, session, row };
  const place = `${address.database}/${address.container}/${address.entity}/${address.key}`;
  throw storageError('STORAGE_CORRUPT', `The head of a stream at ${place} cannot be read back.`, { place });
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
