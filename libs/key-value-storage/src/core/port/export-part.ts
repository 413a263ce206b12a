/** Parts of a database. */
import type { Address, ExportPart } from './storage-provider.js';

/** An export of a part may have more rows than those of the part. */
export const isOfPart = (
  { container, entity, key }: Omit<Address, 'database'>,
  { start, end, ...space }: ExportPart,
): boolean =>
  container === space.container &&
  entity === space.entity &&
  (start === undefined || key >= start) &&
  (end === undefined || key < end);
