export type KeyPart = string | number | bigint | boolean | Uint8Array;
/** A string, or parts of it: `['order', 42]`. Numbers sort by value, strings by code point. */
export type Key = string | readonly KeyPart[];

/** Leading characters of text keys, or one or more leading parts. */
export type KeyPrefix<K extends Key = Key> = K extends string
  ? string
  : K extends readonly [infer First extends KeyPart, ...infer Rest extends readonly KeyPart[]]
    ? readonly [First] | (Rest extends readonly [] ? never : readonly [First, ...Prefixes<Rest>])
    : K;
type Prefixes<Parts extends readonly KeyPart[]> = Extract<KeyPrefix<Parts>, readonly KeyPart[]>;

/**
 * A range of keys. `prefix`: leading characters of text keys, or leading parts (the key itself is
 * then left out). `start` is inclusive, `end` exclusive; both may be leading parts.
 */
export interface KeyRange<K extends Key = Key> {
  readonly prefix?: KeyPrefix<K>;
  readonly start?: K | KeyPrefix<K>;
  readonly end?: K | KeyPrefix<K>;
  readonly reverse?: boolean;
}
