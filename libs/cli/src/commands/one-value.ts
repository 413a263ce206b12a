/** What the commands for one value share: its address, and its row. */
import { storageError, type Row, type StorageProvider } from '@kvent/key-value-storage/internal/rows';
import { chosenDatabase, type TenantOptions } from '../input/database.js';
import { encodedKeyFrom, keyJson } from '../input/key.js';
import type { StorageOptions } from './command.js';
import { spaceOf } from './space-names.js';

export interface ValueOptions extends StorageOptions, TenantOptions {
  readonly storage: string;
  readonly state: string;
  readonly key: string;
  readonly container?: string;
  readonly counter?: boolean;
}

export interface ValueAddress {
  readonly database: string;
  readonly container: string;
  readonly entity: string;
  readonly key: string;
}

export async function valueAddress(provider: StorageProvider, options: ValueOptions): Promise<ValueAddress> {
  const key = encodedKeyFrom(options.key);
  const database = await chosenDatabase(provider, options);
  return { database, ...spaceOf(options.state, options), key };
}

/** For reports in JSON: where the value is. */
export const placeJson = (
  command: string,
  { name }: StorageProvider,
  { database, key }: ValueAddress,
  { state }: ValueOptions,
): object => ({ command, storage: name, database, state, key: keyJson(key) });

/** `KEY_NOT_FOUND` for an absent value. */
export async function existingRow(
  provider: StorageProvider,
  address: ValueAddress,
  options: ValueOptions,
  signal: AbortSignal,
): Promise<Row> {
  const {
    rows: [row],
  } = await provider.read([address], { signal });
  if (row !== undefined) return row;
  throw absentError(address, options);
}

const absentError = ({ database }: ValueAddress, { state, key }: ValueOptions): Error =>
  storageError('KEY_NOT_FOUND', `There is no ${state} ${key} in '${database}'.`, { key });
