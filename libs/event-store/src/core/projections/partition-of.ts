import { rowNameOf } from '@kvent/key-value-storage/internal';
import type { Address } from '@kvent/key-value-storage/provider';

/**
 * The partition of a stream, by the FNV-1a hash (32 bits) of its tenant and its id. Checkpoints
 * depend on it: it never changes.
 */
export function partitionOf({ database, entity }: Address, partitions: number): number {
  if (partitions === 1) return 0;
  const text = rowNameOf({ container: database, entity, key: '' });
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1)
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  // the low bits of FNV are weak: fold the high ones into them
  return ((hash ^ (hash >>> 15)) >>> 0) % partitions;
}
