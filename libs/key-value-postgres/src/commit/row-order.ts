/**
 * The order in which every process locks rows: sessions that lock in one order never wait for each
 * other in a circle.
 */
import type { Address } from '@kvent/key-value-storage/provider';

export const inRowOrder = <T extends Address>(rows: readonly T[]): readonly T[] =>
  rows.length < 2 ? rows : [...rows].sort(byAddress);

const byAddress = (a: Address, b: Address): number =>
  compare(a.database, b.database) ||
  compare(a.container, b.container) ||
  compare(a.entity, b.entity) ||
  compare(a.key, b.key);

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
