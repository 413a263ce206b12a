export type KeyPart = string | number | bigint | boolean | Uint8Array;
/** A string, or parts of it: `['order', 42]`. Numbers sort by value, strings by code point. */
export type Key = string | readonly KeyPart[];

/**
 * A range of keys. `prefix`: leading characters of text keys, or leading parts (the key itself is
 * then left out). `start` is inclusive, `end` exclusive.
 */
export interface KeyRange {
  readonly prefix?: Key;
  readonly start?: Key;
  readonly end?: Key;
  readonly reverse?: boolean;
}
