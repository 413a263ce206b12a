/** The rows of one state or counter, as ranges and batches use them. */
import type { Key } from '../base/key.js';
import type { CommittedBatch, ConflictedBatch, Contribution } from '../commit/commit.js';
import type { StorageAccess } from '../commit/storage-access.js';
import { encodeKey } from '../encoding/key-encoding.js';
import type { Address, Row } from '../port/storage-provider.js';
import type { CallOptions } from './call-options.js';
import type { ResolvedDefinition } from './definition-options.js';
import type { IndexedState } from './indexed-commit.js';
import { assertKey } from './key-schema.js';

export interface DefinitionRows<Item, K extends Key = Key> {
  readonly access: StorageAccess;
  readonly definition: ResolvedDefinition & { readonly kind: 'state' | 'counter' };
  /** The database of the current tenant: called once a call, so that retries and pages keep it. */
  readonly database: () => string;
  /** The indexes of a state. */
  readonly indexed: IndexedState | undefined;
  address(key: Key, database?: string): Address;
  commit(
    database: string,
    contribution: Contribution,
    options: CallOptions | undefined,
  ): Promise<CommittedBatch | ConflictedBatch>;
  /** A promise only where the value must be upcast from an older schema version. */
  entry(address: Address, key: K, row: Row): Item | Promise<Item>;
}

/** Of a batch: the entry, and one in each index, which an overwrite may move. */
export const rowsPerEntry = ({ indexed }: { readonly indexed: IndexedState | undefined }): number =>
  1 + 2 * (indexed?.indexes.length ?? 0);

/** `INVALID_KEY` for a key that cannot be encoded, or that the schema of the keys refuses. */
export function addressOf(
  { name, container, entity, keySchema }: ResolvedDefinition,
  key: Key,
  database: string,
): Address {
  const encoded = encodeKey(key);
  if (keySchema !== undefined) assertKey(name, keySchema, key, encoded);
  return { database, container, entity, key: encoded };
}
