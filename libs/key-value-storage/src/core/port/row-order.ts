/** The order of rows in an export, a snapshot and a backup: by container, entity and key. */
import type { RowAddress } from './storage-provider.js';

/** For `sort`: below zero if `a` comes before `b`, zero if they are one address. */
export function compareAddresses(a: RowAddress, b: RowAddress): number {
  return (
    compareText(a.container, b.container) || compareText(a.entity, b.entity) || compareText(a.key, b.key)
  );
}

export const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
