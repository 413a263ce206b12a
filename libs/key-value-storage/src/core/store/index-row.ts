/**
 * Rows of indexes. Each holds a copy of its entry, so that a page of an index is one scan, of one
 * moment, on every provider. It is written by the batch that writes the entry, and has its version,
 * `updatedAt` and expiry: the expiry is copied in the commit where the entry keeps one. A row that
 * was built later carries etag and time of its entry.
 */
import { assertWithin } from '../base/assert-limits.js';
import { storageError } from '../base/errors.js';
import type { Key } from '../base/key.js';
import { limits } from '../base/limits.js';
import { indexKeySeparator } from '../encoding/index-encoding.js';
import { encodeKey } from '../encoding/key-encoding.js';
import type { ResolvedIndex } from './index-definition.js';
import type { Address, Row, RowAddress, StoredValue, TimeToLive, Value } from '../port/storage-provider.js';

/** The row of an entry in an index. `key`: of the index; `own`: the encoded key of the entry. */
export function indexAddress(index: ResolvedIndex, key: Key, own: string): RowAddress {
  const encoded = encodeKey(key);
  const rowKey = index.unique ? encoded : encoded + indexKeySeparator + own;
  assertWithin('keyBytesMax', rowKey, () => `key in the index '${index.name}'`);
  return { ...index.space, key: rowKey };
}

/** The bounds of the rows of a range of index keys. */
export function rowBounds<B extends { readonly start?: string }>(bounds: B): B {
  // a prefix of parts leaves out the key itself, whose rows begin with the separator
  return bounds.start?.endsWith('!') === true ? { ...bounds, start: `${bounds.start}"` } : bounds;
}

/** The bounds of the rows with exactly this key of the index. */
export function boundsOfKey(
  index: ResolvedIndex,
  key: Key,
): { readonly start: string; readonly end: string } {
  const encoded = encodeKey(key);
  return index.unique
    ? { start: encoded, end: `${encoded}!` }
    : { start: encoded + indexKeySeparator, end: `${encoded}!"` };
}

/** The entry of a row that was built later. */
interface BuiltFrom {
  readonly version: string;
  readonly updatedAt: number;
}

/** The value of an index row. Its text is made when it is needed: in memory it never is. */
export class IndexValue {
  readonly kind = 'json';
  readonly own: string;
  readonly from: BuiltFrom | undefined;
  readonly stored: StoredValue & { readonly kind: 'json' };
  #text: string | undefined;

  constructor(own: string, stored: StoredValue & { readonly kind: 'json' }, from?: BuiltFrom) {
    this.own = own;
    this.stored = stored;
    this.from = from;
  }

  get text(): string {
    const { version = null, updatedAt = null } = this.from ?? {};
    this.#text ??= `[${JSON.stringify(this.own)},${JSON.stringify(version)},${JSON.stringify(updatedAt)},${this.stored.text}]`;
    return this.#text;
  }
}

/**
 * The time to live of an index row, from that of its entry: `before` is the entry as it was. The
 * expiry that an entry keeps may move without a new version, so it is copied in the commit.
 */
export function ttlInIndex(ttl: TimeToLive, entry: RowAddress, before: Row | undefined): TimeToLive {
  if (typeof ttl !== 'object' || ttl.of !== undefined) return ttl;
  if (before === undefined) return ttl.keepElse;
  return before.expiresAt === undefined ? 'never' : { keepElse: 'never', of: entry };
}

/**
 * The change that writes an index row. `LIMIT_EXCEEDED` where the value leaves no room for its key.
 */
export function putIndexRow(address: RowAddress, value: IndexValue, ttl: TimeToLive) {
  // the text of a row in step is not made for this: 1,100 bytes more than the value are possible
  const { length } = value.stored.text;
  if (length > limits.valueBytesMax / 3 - 1_100)
    assertWithin('valueBytesMax', value.text, 'value with its key in an index');
  return { kind: 'put', address, value, ttl } as const;
}

/** What an index row says of its entry. */
interface IndexedRow {
  /** The encoded key of the entry. */
  readonly own: string;
  readonly version: string;
  readonly updatedAt: number;
  readonly value: Value;
}

const header = /^\[("(?:[^"\\]|\\.)*"),(null|"\d+"),(null|\d+),/;

export function readIndexRow(address: Address, row: Row): IndexedRow {
  const { value, version, updatedAt } = row;
  if (value instanceof IndexValue)
    return {
      own: value.own,
      version: value.from?.version ?? version,
      updatedAt: value.from?.updatedAt ?? updatedAt,
      value: value.stored,
    };
  const [head = '', own, from, time] = (value.kind === 'json' && header.exec(value.text)) || [];
  if (own === undefined || value.kind !== 'json') {
    const place = `${address.database}/${address.container}/${address.entity}/${address.key}`;
    throw storageError('STORAGE_CORRUPT', `The row at ${place} is not one of an index.`, { place });
  }
  return {
    own: JSON.parse(own) as string,
    version: (JSON.parse(from as string) as string | null) ?? version,
    updatedAt: (JSON.parse(time as string) as number | null) ?? updatedAt,
    value: { kind: 'json', text: value.text.slice(head.length, -1) },
  };
}
