/** Which rows of indexes entries have. */
import { isStorageError, storageError } from '../base/errors.js';
import { inspect } from '../base/inspect.js';
import type { Key } from '../base/key.js';
import { isBytes, isPromise, thrownName } from '../base/kinds.js';
import type { StorageAccess } from '../commit/storage-access.js';
import { decodeKey } from '../encoding/key-encoding.js';
import { rowNameOf } from '../port/row-name.js';
import type { Address, Row, RowAddress, Value } from '../port/storage-provider.js';
import type { ResolvedIndex } from './index-definition.js';
import { indexAddress, readIndexRow } from './index-row.js';
import type { ResolvedState } from './state-definition.js';
import type { ValueCodec } from './value-codec.js';

interface IndexedState {
  readonly state: ResolvedState;
  readonly codec: ValueCodec<unknown>;
  readonly indexes: readonly ResolvedIndex[];
}

interface IndexedKey {
  readonly index: ResolvedIndex;
  readonly key: Key;
  readonly address: RowAddress;
}

/** Rows of one page, where an index is searched. */
const pageRows = 200;

/**
 * The keys of a value in the indexes. Errors name state, index and entry, and have a cause:
 * `INVALID_OPTION` where the function of an index throws, or returns what is no key by its type;
 * `INVALID_KEY` for an empty key and for NaN, which come from the value. `LIMIT_EXCEEDED` for a key
 * that is too long.
 */
export async function keysOfValue(
  state: IndexedState,
  database: string,
  entry: RowAddress,
  stored: Value,
): Promise<readonly IndexedKey[]> {
  const value = await state.codec.decode({ database, ...entry }, stored);
  return state.indexes.flatMap((index) => keyOfValue(state.state, index, entry.key, value) ?? []);
}

function keyOfValue(
  { name }: ResolvedState,
  index: ResolvedIndex,
  own: string,
  value: unknown,
): IndexedKey | undefined {
  const failed = (code: 'INVALID_KEY' | 'INVALID_OPTION', why: string, cause: unknown): Error => {
    const message = `The key of the index '${index.name}' of '${name}' cannot be computed for ${inspect(decodeKey(own))}: ${why}.`;
    return storageError(code, message, {}, { cause });
  };
  let key: Key | undefined;
  try {
    key = index.keyOf(value);
  } catch (cause) {
    throw failed('INVALID_OPTION', `its function has thrown ${thrownName(cause)}`, cause);
  }
  if (key === undefined) return undefined;
  if (isPromise<unknown>(key)) key.then(undefined, () => undefined);
  try {
    return { index, key, address: indexAddress(index, key, own) };
  } catch (cause) {
    // a text that is too long is one of the value
    if (!isStorageError(cause, 'INVALID_KEY')) throw cause;
    if (isKeyByType(key))
      throw failed('INVALID_KEY', `a key must not be empty or hold NaN; got ${inspect(key)}`, cause);
    throw failed('INVALID_OPTION', `its function must return a key or undefined; got ${inspect(key)}`, cause);
  }
}

/** Whether the type `Key` allows it: then the value is wrong, which a client may have sent. */
const isKeyByType = (key: unknown): boolean =>
  typeof key === 'string' || (Array.isArray(key) && Array.from(key, isPartByType).every(Boolean));

const isPartByType = (part: unknown): boolean =>
  ['string', 'number', 'bigint', 'boolean'].includes(typeof part) || isBytes(part);

interface StoredEntry {
  readonly state: IndexedState;
  readonly address: RowAddress;
  readonly row: Row;
}

/**
 * The rows that stored entries have in the indexes, by the names of the entries. Where a key cannot
 * be computed (the function throws, or the value cannot be read), the index is searched for the
 * rows of the entry: so every entry can be replaced and deleted, and leaves no row behind.
 */
export async function rowsOfEntries(
  access: StorageAccess,
  database: string,
  entries: readonly StoredEntry[],
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, readonly RowAddress[]>> {
  const found = new Map<string, RowAddress[]>();
  const searched = new Map<ResolvedIndex, Map<string, RowAddress[]>>();
  for (const { state, address, row } of entries) {
    const rows: RowAddress[] = [];
    found.set(rowNameOf(address), rows);
    const keyIn = await keysOfStored(state, { database, ...address }, row);
    for (const index of state.indexes) {
      const key = keyIn(index);
      if (key !== 'unknown') {
        if (key !== undefined) rows.push(key.address);
        continue;
      }
      const owners = searched.get(index) ?? new Map<string, RowAddress[]>();
      searched.set(index, owners.set(address.key, rows));
    }
  }
  for (const [index, owners] of searched)
    for await (const page of access.scanPages({ database, ...index.space, limit: pageRows }, { signal }))
      for (const { key, row } of page.rows) {
        const address = { ...index.space, key };
        owners.get(readIndexRow({ database, ...address }, row).own)?.push(address);
      }
  return found;
}

/** The same without a search: the error of `keysOfValue` where a key cannot be computed. */
export async function rowsByKeys(
  database: string,
  entries: readonly StoredEntry[],
): Promise<ReadonlyMap<string, readonly RowAddress[]>> {
  const found = new Map<string, readonly RowAddress[]>();
  for (const { state, address, row } of entries) {
    const keys = await keysOfValue(state, database, address, row.value);
    found.set(
      rowNameOf(address),
      keys.map((key) => key.address),
    );
  }
  return found;
}

/** The key of a stored value in an index. */
async function keysOfStored(
  { state, codec }: IndexedState,
  address: Address,
  row: Row,
): Promise<(index: ResolvedIndex) => IndexedKey | 'unknown' | undefined> {
  let value: unknown;
  try {
    value = await codec.decode(address, row.value);
  } catch {
    return () => 'unknown';
  }
  return (index) => {
    try {
      return keyOfValue(state, index, address.key, value);
    } catch {
      return 'unknown';
    }
  };
}
