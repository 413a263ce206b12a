/**
 * A row as one line of text, the same from every provider: the JSON file and backups contain these
 * lines, and digests are made of them. JSON is embedded as it is, character for character, after
 * all other properties, and cut out by position when the line is read. So a line is readable, and
 * the value comes back with its key order, long numbers and white space. A value that is not JSON,
 * or that would not survive in one line of UTF-8, is written as a string. Two rows have the same
 * line exactly if they are equal.
 */
import { fromBase64, toBase64 } from '../encoding/codec.js';
import { DeferredJson, EncodedJson } from '../encoding/encoded-json.js';
import type { RawRow, Row, RowAddress, StoredValue, Value } from './storage-provider.js';
import { isFeedPosition } from './feed-position.js';
import { isVersion } from './version.js';

/**
 * What stands before an embedded JSON value. Names are quoted in strings, so the first one counts.
 */
export const jsonProperty = ',"json":';

/** The parsed properties of a line, without an embedded JSON value. */
export type WrittenRow = Partial<
  Record<
    | 'container'
    | 'entity'
    | 'key'
    | 'version'
    | 'updatedAt'
    | 'expiresAt'
    | 'ttlMs'
    | 'position'
    | 'text'
    | 'bytes'
    | 'number',
    unknown
  >
>;

/** `TypeError` if the value was omitted. */
export const rowLine = (raw: RawRow): string => rowText(spaceText(raw) + quoted(raw.key), raw.row);

/** `address`: the text of the space, followed by the quoted key. */
export function rowText(address: string, row: Row, encodeBytes = toBase64): string {
  const expiry =
    (row.expiresAt === undefined ? '' : `,"expiresAt":${row.expiresAt}`) +
    (row.ttlMs === undefined ? '' : `,"ttlMs":${row.ttlMs}`);
  const position = row.position === undefined ? '' : `,"position":"${row.position}"`;
  return `{${address},"version":"${row.version}","updatedAt":${row.updatedAt}${expiry}${position},${valueText(row.value, encodeBytes)}}`;
}

export const spaceText = ({ container, entity }: Omit<RowAddress, 'key'>): string =>
  `"container":${quoted(container)},"entity":${quoted(entity)},"key":`;

/** Printable ASCII without a quote or a backslash. */
const plain = /^[ !#-[\]-~]*$/;

/** The text as JSON. Fast path: nearly every name is plain, and the test takes half of the time. */
export const quoted = (text: string): string => (plain.test(text) ? `"${text}"` : JSON.stringify(text));

function valueText(value: Value, encodeBytes: (bytes: Uint8Array) => string): string {
  switch (value.kind) {
    case 'json':
      return value instanceof EncodedJson || value instanceof DeferredJson || isOneLineOfJson(value.text)
        ? `"json":${value.text}`
        : `"text":${JSON.stringify(value.text)}`;
    case 'bytes':
      return `"bytes":"${encodeBytes(value.bytes)}"`;
    case 'number':
      return `"number":"${value.number}"`;
    case 'omitted':
      throw new TypeError('A row without its value has no text.');
  }
}

/** A line break, or half of a surrogate pair. */
const notOneLine = /[\n\r\p{Surrogate}]/u;

function isOneLineOfJson(text: string): boolean {
  if (notOneLine.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * The row of a line; `SyntaxError` if there is none. `assertRawRow` checks whether it can be read
 * back.
 */
export function readRowLine(line: string): RawRow {
  const at = line.indexOf(jsonProperty);
  const written = JSON.parse(at < 0 ? line : `${line.slice(0, at)}}`) as WrittenRow;
  if (!line.endsWith('}')) throw new SyntaxError('its end is missing');
  const raw = {
    ...addressOf(written),
    row: rowOf(written, at < 0 ? undefined : line.slice(at + jsonProperty.length, -1)),
  };
  if (!isVersion(raw.row.version)) throw new SyntaxError('there is no version');
  return raw;
}

export function addressOf({ container, entity, key }: WrittenRow): RowAddress {
  if (typeof container !== 'string' || typeof entity !== 'string' || typeof key !== 'string')
    throw new SyntaxError('there is no address');
  return { container, entity, key };
}

/** `json`: the embedded value, if there is one. */
export function rowOf(
  written: WrittenRow,
  json: string | undefined,
  decodeBytes = fromBase64,
): Row & { readonly value: StoredValue } {
  const { version, expiresAt, ttlMs, position } = written;
  const value: StoredValue =
    json === undefined ? readValue(written, decodeBytes) : { kind: 'json', text: json };
  if (typeof version !== 'string') throw new SyntaxError('there is no version');
  if (position !== undefined && !isFeedPosition(position)) throw new SyntaxError('its position is none');
  return {
    version,
    value,
    updatedAt: numberOf(written, 'updatedAt'),
    ...(expiresAt === undefined ? {} : { expiresAt: numberOf(written, 'expiresAt') }),
    ...(ttlMs === undefined ? {} : { ttlMs: numberOf(written, 'ttlMs') }),
    ...(position === undefined ? {} : { position }),
  };
}

function readValue(
  { text, bytes, number }: WrittenRow,
  decodeBytes: (text: string) => Uint8Array,
): StoredValue {
  if (typeof text === 'string') return { kind: 'json', text };
  if (typeof bytes === 'string') return { kind: 'bytes', bytes: decodeBytes(bytes) };
  if (typeof number === 'string' && /^-?[0-9]{1,19}$/.test(number)) {
    const value = BigInt(number);
    if (BigInt.asIntN(64, value) === value) return { kind: 'number', number: value };
  }
  throw new SyntaxError('there is no value');
}

function numberOf(written: WrittenRow, name: 'updatedAt' | 'expiresAt' | 'ttlMs'): number {
  const { [name]: number } = written;
  if (typeof number === 'number' && Number.isFinite(number)) return number;
  throw new SyntaxError(`${name} is not a number`);
}
