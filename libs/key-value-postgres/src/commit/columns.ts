/** What the arrays of the statements have in common. */
import { TextArray } from '../sql/text-array.js';
import type { Placed } from './row-order.js';

/** The four arrays of addresses. */
export const addressColumns = (placed: readonly Placed[]): readonly TextArray[] => [
  new TextArray(placed.map(({ database }) => database)),
  new TextArray(placed.map(({ address }) => address.container)),
  new TextArray(placed.map(({ address }) => address.entity)),
  new TextArray(placed.map(({ address }) => address.key)),
];

/** An array in which nothing stands need not be sent. */
export const orNone = <R>(column: readonly (R | null)[]): readonly (R | null)[] | null =>
  column.every((value) => value === null) ? null : column;
