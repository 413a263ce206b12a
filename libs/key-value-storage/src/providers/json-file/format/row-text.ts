/**
 * A row as text, the same in journals and snapshots. JSON is embedded as it came, character for
 * character, behind all other properties, and cut out by position when it is read: so it is
 * readable, and comes back the same, key order, long numbers and white space included. What is no
 * JSON, or would not survive in one line of UTF-8, is kept as a string.
 */
import type { RowEffect } from '../../../core/port/evaluate-batch.js';
import type { Row, RowAddress, StoredValue, Value } from '../../../core/port/storage-provider.js';

/** Names are quoted in strings, so this first occurs where the value begins. */
const jsonAt = Buffer.from(',"json":');

export function rowText(address: RowAddress, row: Row | undefined): string {
  const { container, entity, key } = address;
  const place = `{"container":${JSON.stringify(container)},"entity":${JSON.stringify(entity)},"key":${JSON.stringify(key)}`;
  if (row === undefined) return `${place},"deleted":true}`;
  const expiry =
    (row.expiresAt === undefined ? '' : `,"expiresAt":${row.expiresAt}`) +
    (row.ttlMs === undefined ? '' : `,"ttlMs":${row.ttlMs}`);
  return `${place},"version":"${row.version}","updatedAt":${row.updatedAt}${expiry},${valueText(row.value)}}`;
}

function valueText(value: Value): string {
  switch (value.kind) {
    case 'json':
      return isOneLineOfJson(value.text) ? `"json":${value.text}` : `"text":${JSON.stringify(value.text)}`;
    case 'bytes':
      return `"bytes":"${Buffer.from(value.bytes.buffer, value.bytes.byteOffset, value.bytes.byteLength).toString('base64')}"`;
    case 'number':
      return `"number":"${value.number}"`;
    case 'omitted':
      throw new TypeError('A row without its value cannot be stored.');
  }
}

const loneSurrogate = /\p{Surrogate}/u;

function isOneLineOfJson(text: string): boolean {
  if (/[\n\r]/.test(text) || loneSurrogate.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

interface Written {
  readonly container: string;
  readonly entity: string;
  readonly key: string;
  readonly deleted?: true;
  readonly version: string;
  readonly updatedAt: number;
  readonly expiresAt?: number;
  readonly ttlMs?: number;
  readonly text?: string;
  readonly bytes?: string;
  readonly number?: string;
}

/** Reads a row back from its bytes. Throws where they are none. */
export function readRow(bytes: Buffer): RowEffect {
  const at = bytes.indexOf(jsonAt);
  const written = JSON.parse(at < 0 ? bytes.toString() : `${bytes.toString('utf8', 0, at)}}`) as Written;
  const { container, entity, key } = written;
  if (typeof container !== 'string' || typeof entity !== 'string' || typeof key !== 'string')
    throw new TypeError('no address');
  const address = { container, entity, key };
  if (written.deleted === true) return { address, row: undefined };
  const value: StoredValue =
    at < 0
      ? readValue(written)
      : { kind: 'json', text: bytes.toString('utf8', at + jsonAt.length, bytes.length - 1) };
  if (typeof written.version !== 'string') throw new TypeError('no version');
  const { updatedAt, expiresAt = 0, ttlMs = 0 } = written;
  if (![updatedAt, expiresAt, ttlMs].every(Number.isFinite)) throw new TypeError('no time');
  return {
    address,
    row: { version: written.version, value, updatedAt: written.updatedAt, ...expiryOf(written) },
  };
}

function readValue({ text, bytes, number }: Written): StoredValue {
  if (text !== undefined) return { kind: 'json', text };
  if (bytes !== undefined) return { kind: 'bytes', bytes: Uint8Array.from(Buffer.from(bytes, 'base64')) };
  if (number !== undefined) return { kind: 'number', number: int64(number) };
  throw new TypeError('no value');
}

function int64(digits: string): bigint {
  if (!/^-?[0-9]{1,19}$/.test(digits)) throw new TypeError('no 64-bit number');
  const number = BigInt(digits);
  if (BigInt.asIntN(64, number) !== number) throw new TypeError('no 64-bit number');
  return number;
}

function expiryOf({ expiresAt, ttlMs }: Written): Pick<Row, 'expiresAt' | 'ttlMs'> {
  return { ...(expiresAt === undefined ? {} : { expiresAt }), ...(ttlMs === undefined ? {} : { ttlMs }) };
}
