/** Parameters that are arrays: one column of the rows that a statement takes. */
import type { Address } from '@kvent/key-value-storage/provider';

/**
 * An array of texts, sent in the binary form of Postgres: nothing has to be escaped, nor parsed by
 * the server.
 */
export class TextArray {
  readonly values: readonly (string | null)[];

  constructor(values: readonly (string | null)[]) {
    this.values = values;
  }

  /** For `pg`, where it prepares the parameters itself. */
  toPostgres(): readonly (string | null)[] {
    return this.values;
  }
}

/**
 * Null where every value is null: then nothing is sent, and the server reads nulls all the same.
 */
export const sparse = <R>(column: readonly (R | null)[]): readonly (R | null)[] | null =>
  column.every((value) => value === null) ? null : column;

/** The same for texts. */
export const sparseTexts = (column: readonly (string | null)[]): TextArray | null =>
  sparse(column) === null ? null : new TextArray(column);

/** The four columns of addresses. */
export const addressColumns = (addresses: readonly Address[]): readonly TextArray[] => [
  new TextArray(addresses.map(({ database }) => database)),
  new TextArray(addresses.map(({ container }) => container)),
  new TextArray(addresses.map(({ entity }) => entity)),
  new TextArray(addresses.map(({ key }) => key)),
];
