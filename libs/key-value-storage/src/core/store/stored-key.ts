/** The key of a stored row, where the row may be damaged. */
import { storageError, type StorageError } from '../base/errors.js';
import type { Key } from '../base/key.js';
import { decodeKey } from '../encoding/key-encoding.js';
import type { Address } from '../port/storage-provider.js';
import { frozenKey } from './entry.js';

/** `STORAGE_CORRUPT` for a key that Kvent did not write. */
export function storedKey<K extends Key>(address: Address): K {
  const key = decodeKey(address.key);
  if (key === undefined) throw corruptRow(address, 'has a key that Kvent did not write');
  return frozenKey(key) as K;
}

export function corruptRow(
  { database, container, entity, key }: Address,
  why: string,
): StorageError<'STORAGE_CORRUPT'> {
  const place = `${database}/${container}/${entity}/${key}`;
  return storageError('STORAGE_CORRUPT', `The row at ${place} ${why}.`, { place });
}
