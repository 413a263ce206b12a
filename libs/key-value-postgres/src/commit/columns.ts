/** What the arrays of the statements have in common. */
import type { Placed } from './row-order.js';

/** The four arrays of addresses. */
export const addressColumns = (placed: readonly Placed[]): readonly (readonly string[])[] => [
  placed.map(({ database }) => database),
  placed.map(({ address }) => address.container),
  placed.map(({ address }) => address.entity),
  placed.map(({ address }) => address.key),
];

/** An array in which nothing stands need not be sent. */
export const orNone = <R>(column: readonly (R | null)[]): readonly (R | null)[] | null =>
  column.every((value) => value === null) ? null : column;
