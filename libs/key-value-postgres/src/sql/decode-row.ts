/** From the columns of `rowColumns` back to a row. */
import { storageError, type Row, type Value } from '@kvent/key-value-storage/provider';
import { milliseconds } from './statement.js';

/** One line of a result: every column is text, whatever parsers the application has set. */
export type Columns = readonly (string | null)[];

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
  const [expires = '-', ttl = '-', other] = rare.split(' ', 3);
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
  };
}

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
