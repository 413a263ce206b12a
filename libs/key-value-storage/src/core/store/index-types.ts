/** Types of indexes: what a state declares, and what a read of an index takes. */
import type { Key, KeyPart, KeyPrefix } from '../base/key.js';

/** The empty tuple lets the compiler infer a tuple for `[slot.doctor, slot.day]`. */
type IndexKey = string | readonly [] | readonly KeyPart[];

/**
 * The key of an entry in an index, made of its value: `undefined` leaves the entry out. It must be
 * pure, because the key of an older value is computed again when the entry changes. An array is one
 * key with several parts. Where it throws, or returns anything else, the write is `INVALID_OPTION`
 * with state, index and entry, and nothing is written. An older value does not hinder its
 * replacement or deletion: the whole index is then searched for its row.
 */
// a method type: a function of a supertype, or of `any` of a decorator, is accepted too
type IndexFunction<T> = { bivariance(value: T): IndexKey | undefined }['bivariance'];

/** An index with options. */
export interface IndexOptions<T> {
  readonly key: IndexFunction<T>;
  /** Two entries with one key are `UNIQUE_TAKEN`. @default false */
  readonly unique?: boolean;
  /**
   * Without it, an index is built again when the text of its function changes. With it, only when
   * the number changes: give it where a build step rewrites functions, and raise it when the key
   * changes, in a function that `key` calls too.
   */
  readonly version?: number;
}
/** The indexes of a state by name: a function of its value, or a function with options. */
export type IndexDefinitions<T> = Readonly<Record<string, IndexFunction<T> | IndexOptions<T>>>;
/** Indexes of any name, for a class whose decorator holds them. */
// oxlint-disable-next-line typescript/no-explicit-any -- a bound
export type AnyIndexes = IndexDefinitions<any>;

/** Of a state without indexes. */
export type NoIndexes = Readonly<Record<never, never>>;

type Made<D> = D extends { readonly key: (value: never) => infer R }
  ? R
  : D extends (value: never) => infer R
    ? R
    : never;
/** The key type of an index. */
export type IndexKeyOf<D> = Readonly<Exclude<Made<D>, undefined>> extends infer K extends Key ? K : Key;

/**
 * A part of an index. `key`: the entries with this key. `prefix`, `start`, `end` and `reverse` are
 * those of `KeyRange`, of keys of the index; `key` cannot be combined with them.
 */
export interface IndexRange<X extends Key = Key> {
  readonly key?: X;
  readonly prefix?: KeyPrefix<X>;
  readonly start?: X | KeyPrefix<X>;
  readonly end?: X | KeyPrefix<X>;
  readonly reverse?: boolean;
}
/** What a list of an index begins at. */
export interface IndexListRange<X extends Key = Key> extends IndexRange<X> {
  /** `next` or `previous` of a page, as of a list of the store. */
  readonly cursor?: string | undefined;
}
export interface IndexPageRequest<X extends Key = Key> extends IndexListRange<X> {
  /** Items at most, up to 1,000. @default 100 */
  readonly limit?: number;
}
