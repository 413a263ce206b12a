/** Stored values as JSON. Dates, bigints and other values that JSON lacks keep their tags. */
import { parseStored, toBase64, type Row } from '@kvent/key-value-storage/internal/rows';

interface ValueJson {
  readonly schemaVersion: number;
  readonly value: unknown;
}

/** A number of 64 bits is a JSON number as long as that is exact, and a string beyond. */
export function valueJson({ value }: Row): ValueJson {
  switch (value.kind) {
    case 'json': {
      const { schemaVersion, json } = parseStored(value.text);
      return { schemaVersion, value: json };
    }
    case 'number': {
      const number = Number(value.number);
      return { schemaVersion: 1, value: Number.isSafeInteger(number) ? number : value.number.toString() };
    }
    case 'bytes':
      return { schemaVersion: 1, value: { $bytes: toBase64(value.bytes) } };
    case 'omitted':
      return { schemaVersion: 1, value: undefined };
  }
}
