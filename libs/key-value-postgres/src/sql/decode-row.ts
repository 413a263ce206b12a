/** From the columns of `rowColumns` back to a row. */
import {
  feedPositionOf,
  storageError,
  type FeedPosition,
  type Row,
  type Value,
} from '@kvent/key-value-storage/provider';
import { milliseconds, separator } from './statement.js';

/** One line of a result: every column is text, whatever parsers the application has set. */
export type Columns = readonly (string | null)[];

/**
 * The rows of `asOneLine`, with what each is called by; undefined where the line has none of them.
 */
interface JoinedRows {
  readonly time: number;
  readonly names: readonly string[];
  readonly rows: readonly Row[];
}

export function decodeJoined([time, ok, names, ...columns]: Columns): JoinedRows | undefined {
  if (ok !== 't') return undefined;
  const at = milliseconds(time as string);
  if (typeof names !== 'string') return { time: at, names: [], rows: [] };
  const [versions = [], times = [], texts = [], rares = []] = columns.map((column) =>
    (column as string).split(separator),
  );
  const list = names.split(separator);
  // a key has the separator in it
  if (list.length !== versions.length) return undefined;
  const rows = versions.map((version, index) =>
    rowInLine(version, times[index] as string, texts[index] as string, rares[index] as string),
  );
  return { time: at, names: list, rows };
}

/** A row of the columns of a line, which are never null. */
export function rowInLine(version: string, updated: string, text: string, rare: string): Row {
  if (rare !== '') return decodeRow([version, updated, text === '' ? null : text, rare], 0, 'include');
  return { version, value: { kind: 'json', text }, updatedAt: milliseconds(updated) };
}

/** The row whose columns begin at `from`. */
export function decodeRow(columns: Columns, from: number, values: 'include' | 'omit'): Row {
  const version = columns[from] as string;
  const updatedAt = milliseconds(columns[from + 1] as string);
  const json = columns[from + 2];
  const rare = columns[from + 3];
  if (typeof rare !== 'string')
    return {
      version,
      value: values === 'omit' ? omitted : { kind: 'json', text: json as string },
      updatedAt,
    };
  const [expires = '-', ttl = '-', third, fourth] = rare.split(' ', 4);
  const isPlaced = third?.startsWith('p') === true;
  const other = isPlaced ? fourth : third;
  return {
    version,
    value:
      values === 'omit'
        ? omitted
        : typeof json === 'string'
          ? { kind: 'json', text: json }
          : otherValue(other, version),
    updatedAt,
    ...(expires === '-' ? {} : { expiresAt: milliseconds(expires) }),
    ...(ttl === '-' ? {} : { ttlMs: Number(ttl) }),
    ...(isPlaced ? { position: decodePosition(third.slice(1)) } : {}),
  };
}

/** Of the text `transaction.sequence`. */
export function decodePosition(text: string): FeedPosition {
  const [transaction = '0', sequence = '0'] = text.split('.');
  return feedPositionOf(numberOf(transaction), numberOf(sequence));
}

/** A bigint takes several times as long, and most numbers need none. */
export const numberOf = (text: string): bigint | number => (text.length > 15 ? BigInt(text) : Number(text));

const omitted = { kind: 'omitted' } as const;

/** Base64 has line breaks, which decoding ignores. */
function otherValue(text: string | undefined, version: string): Value {
  if (text === undefined)
    throw storageError('STORAGE_CORRUPT', `The row of version ${version} has no value.`, {
      place: `version ${version}`,
    });
  return text.startsWith('b')
    ? { kind: 'bytes', bytes: bytesOf(text.slice(1)) }
    : { kind: 'number', number: BigInt(text) };
}

function bytesOf(base64: string): Uint8Array {
  return new Uint8Array(Buffer.from(base64, 'base64'));
}
