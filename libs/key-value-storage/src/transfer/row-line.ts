/**
 * A row as one line of text, the same from every provider: what hashes are made of and what backups
 * hold. JSON is embedded as it came, character for character, behind all other properties, and cut
 * out by position when it is read: so it is readable, and comes back the same, key order and long
 * numbers included. What is no JSON, or would not survive in one line of UTF-8, is kept as a
 * string. Two rows have the same line exactly when they are the same.
 */
import { fromBase64, toBase64 } from '../core/encoding/codec.js';
import type { RawRow, Row, StoredValue, Value } from '../core/port/storage-provider.js';
import { isVersion } from '../core/port/version.js';

/** Names are quoted in strings, so this first occurs where the value begins. */
const jsonAt = ',"json":';

/** `TypeError` where the value was left out. */
export function rowLine({ container, entity, key, row }: RawRow): string {
  const expiry =
    (row.expiresAt === undefined ? '' : `,"expiresAt":${row.expiresAt}`) +
    (row.ttlMs === undefined ? '' : `,"ttlMs":${row.ttlMs}`);
  const address = `"container":${JSON.stringify(container)},"entity":${JSON.stringify(entity)},"key":${JSON.stringify(key)}`;
  return `{${address},"version":"${row.version}","updatedAt":${row.updatedAt}${expiry},${valueText(row.value)}}`;
}

function valueText(value: Value): string {
  switch (value.kind) {
    case 'json':
      return isOneLineOfJson(value.text) ? `"json":${value.text}` : `"text":${JSON.stringify(value.text)}`;
    case 'bytes':
      return `"bytes":"${toBase64(value.bytes)}"`;
    case 'number':
      return `"number":"${value.number}"`;
    case 'omitted':
      throw new TypeError('A row without its value has no text.');
  }
}

/** A line break, or half of a character. */
const unfit = /[\n\r\p{Surrogate}]/u;

function isOneLineOfJson(text: string): boolean {
  if (unfit.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

type Written = {
  readonly [
    name in 'container' | 'entity' | 'key' | 'version' | 'updatedAt' | 'expiresAt' | 'ttlMs'
  ]?: unknown;
} & {
  readonly text?: unknown;
  readonly bytes?: unknown;
  readonly number?: unknown;
};

/**
 * The row of a line. `SyntaxError` where it is none. Whether its parts can be read back is for
 * `assertRawRow` to say.
 */
export function readRowLine(line: string): RawRow {
  const at = line.indexOf(jsonAt);
  const written = JSON.parse(at < 0 ? line : `${line.slice(0, at)}}`) as Written;
  if (!line.endsWith('}')) throw new SyntaxError('its end is missing');
  const value: StoredValue =
    at < 0 ? readValue(written) : { kind: 'json', text: line.slice(at + jsonAt.length, -1) };
  const { container, entity, key, version } = written;
  if (typeof container !== 'string' || typeof entity !== 'string' || typeof key !== 'string')
    throw new SyntaxError('there is no address');
  if (typeof version !== 'string' || !isVersion(version)) throw new SyntaxError('there is no version');
  const row = { version, value, updatedAt: numberOf(written, 'updatedAt'), ...expiryOf(written) };
  return { container, entity, key, row };
}

function readValue({ text, bytes, number }: Written): StoredValue {
  if (typeof text === 'string') return { kind: 'json', text };
  if (typeof bytes === 'string') return { kind: 'bytes', bytes: fromBase64(bytes) };
  if (typeof number === 'string' && /^-?[0-9]+$/.test(number))
    return { kind: 'number', number: BigInt(number) };
  throw new SyntaxError('there is no value');
}

function expiryOf(written: Written): Pick<Row, 'expiresAt' | 'ttlMs'> {
  return {
    ...(written.expiresAt === undefined ? {} : { expiresAt: numberOf(written, 'expiresAt') }),
    ...(written.ttlMs === undefined ? {} : { ttlMs: numberOf(written, 'ttlMs') }),
  };
}

function numberOf(written: Written, name: 'updatedAt' | 'expiresAt' | 'ttlMs'): number {
  const { [name]: number } = written;
  if (typeof number !== 'number') throw new SyntaxError(`${name} is no number`);
  return number;
}
