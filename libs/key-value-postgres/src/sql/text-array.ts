/**
 * A parameter that is an array of texts. It travels in the binary form of Postgres, in which
 * nothing has to be escaped, nor read again there.
 */
export class TextArray {
  readonly values: readonly (string | null)[];

  constructor(values: readonly (string | null)[]) {
    this.values = values;
  }

  /** What `pg` takes for it, where it prepares the parameters itself. */
  toPostgres(): readonly (string | null)[] {
    return this.values;
  }
}

/** An array in which nothing stands need not be sent. */
export const texts = (values: readonly (string | null)[]): TextArray | null =>
  values.length > 0 && values.every((value) => value === null) ? null : new TextArray(values);
