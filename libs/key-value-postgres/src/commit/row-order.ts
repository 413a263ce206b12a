/**
 * The one order in which rows are locked, by every process: rivals that lock in one order never
 * wait for each other in a circle.
 */
import type { RowAddress } from '@kvent/key-value-storage/provider';

export interface Placed {
  readonly database: string;
  readonly address: RowAddress;
}

export const inRowOrder = <T extends Placed>(placed: readonly T[]): readonly T[] =>
  [...placed].sort(byAddress);

function byAddress(a: Placed, b: Placed): number {
  return (
    compare(a.database, b.database) ||
    compare(a.address.container, b.address.container) ||
    compare(a.address.entity, b.address.entity) ||
    compare(a.address.key, b.address.key)
  );
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** One text for each row of a database. */
export const rowOf = ({ container, entity, key }: RowAddress): string => `${container}\0${entity}\0${key}`;
