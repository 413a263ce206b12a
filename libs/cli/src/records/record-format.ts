/** What a record of a file is as an entry to load: a line of JSON, or a record of CSV. */
import { limits, type LoadItem } from '@kvent/key-value-storage/core';
import { mayHoldTags, messageOf } from '@kvent/key-value-storage/internal';
import { encodeKey, inspect, reviveFrozen, type Key } from '@kvent/key-value-storage/internal/rows';
import { keyFrom } from '../input/key.js';
import { UsageError } from '../input/usage-error.js';
import { fieldsOf } from './csv.js';

/** What a record says: an entry to load, or nothing to load. */
type ReadRecord = LoadItem | 'expired' | 'header';

export interface RecordFormat {
  readonly csv: boolean;
  /** Throws an error for what is no entry. */
  readonly read: (text: string) => ReadRecord;
}

const lineNames = ['key', 'value', 'etag', 'updatedAt', 'expiresAt', 'ttlMs', 'schemaVersion'];

interface LinesOptions {
  /** With which the values are stored. */
  readonly schemaVersion: number;
  /** Whether a read renews an entry: by its whole time to live, with which it then begins. */
  readonly sliding: boolean;
}

export const jsonLines = ({ schemaVersion, sliding }: LinesOptions): RecordFormat => ({
  csv: false,
  read: (text) => {
    const parsed = jsonOf(text);
    if (
      typeof parsed !== 'object' ||
      parsed === null ||
      Array.isArray(parsed) ||
      !('key' in parsed) ||
      !('value' in parsed)
    )
      throw new Error(`It must be {"key":…,"value":…}; got ${inspect(parsed)}.`);
    const unknown = Object.keys(parsed).find((name) => !lineNames.includes(name));
    if (unknown !== undefined)
      throw new Error(`Its properties must be ${lineNames.join(', ')}; got ${inspect(unknown)}.`);
    const given: Line = parsed;
    if (given.schemaVersion !== undefined && given.schemaVersion !== schemaVersion)
      throw new Error(
        `Its schemaVersion must be ${schemaVersion}, that of --schema-version; got ${inspect(given.schemaVersion)}.`,
      );
    const tagged = mayHoldTags(text);
    const key = checkedKey(valueIn(given.key, tagged));
    const left = leftUntil(given.expiresAt);
    const ttlMs = checkedTtl(given, left);
    if (typeof left === 'number' && left <= 0) return 'expired';
    return { key, value: valueIn(given.value, tagged), ttlMs: sliding ? (ttlMs ?? left) : left };
  },
});

interface Line {
  readonly key: unknown;
  readonly value: unknown;
  readonly expiresAt?: unknown;
  readonly ttlMs?: unknown;
  readonly schemaVersion?: unknown;
}

function leftUntil(expiresAt: unknown): number | 'never' {
  if (expiresAt === undefined || expiresAt === null) return 'never';
  const time = typeof expiresAt === 'string' ? Date.parse(expiresAt) : Number.NaN;
  if (Number.isNaN(time)) throw new Error(`Its expiresAt must be a time or null; got ${inspect(expiresAt)}.`);
  return time - Date.now();
}

function checkedTtl({ ttlMs }: Line, left: number | 'never'): number | undefined {
  if (ttlMs === undefined) return undefined;
  if (!Number.isInteger(ttlMs) || (ttlMs as number) < 1 || (ttlMs as number) > limits.ttlMsMax)
    throw new Error(
      `Its ttlMs must be a whole number of milliseconds from 1 to ${limits.ttlMsMax}; got ${inspect(ttlMs)}.`,
    );
  if (left === 'never') throw new Error('Its ttlMs needs an expiresAt: without one it never expires.');
  return ttlMs as number;
}

/** The header of CSV does not fit the options: nothing can be imported. */
export class HeaderError extends UsageError {}

interface CsvColumns {
  /** The column of the keys. */
  readonly key: string;
  /** Columns whose fields are JSON. All others are texts. */
  readonly json: readonly string[];
}

/** CSV whose first record names the columns. `HeaderError` for a header that does not fit. */
export class CsvFormat implements RecordFormat {
  readonly csv = true;
  readonly #columns: CsvColumns;
  #header: readonly string[] | undefined;

  constructor(columns: CsvColumns) {
    this.#columns = columns;
  }

  readonly read = (text: string): ReadRecord => {
    const fields = fieldsOf(text.replace(/\r$/, ''));
    if (this.#header === undefined) {
      this.#header = this.#checkedHeader(fields);
      return 'header';
    }
    if (fields === undefined)
      throw new Error('Its quotes are misplaced: a quote in a field must be doubled.');
    if (fields.length !== this.#header.length)
      throw new Error(`It must have ${this.#header.length} fields, as the header has; got ${fields.length}.`);
    return this.#item(this.#header, fields);
  };

  #item(header: readonly string[], fields: readonly string[]): LoadItem {
    const { key: keyColumn, json } = this.#columns;
    const properties: [string, unknown][] = [];
    let key = '';
    for (const [index, name] of header.entries()) {
      const field = fields[index] ?? '';
      if (name === keyColumn) key = field;
      else if (!json.includes(name)) properties.push([name, field]);
      else if (field !== '') properties.push([name, valueIn(jsonOf(field, name), true, name)]);
    }
    return { key: checkedKey(keyFrom(key)), value: Object.fromEntries(properties) };
  }

  #checkedHeader(header: readonly string[] | undefined): readonly string[] {
    const { key, json } = this.#columns;
    if (header === undefined) throw new HeaderError('The header has misplaced quotes.');
    const shown = header
      .slice(0, 20)
      .map((name) => inspect(name))
      .join(', ');
    const missing = [key, ...json].find((name) => !header.includes(name));
    if (missing !== undefined)
      throw new HeaderError(`The header must have the column ${inspect(missing)}; it has ${shown}.`);
    if (json.includes(key)) throw new HeaderError('--json-columns must not have the column of the keys.');
    if (header.includes('') || new Set(header).size < header.length)
      throw new HeaderError(`The columns must have different names, none of them empty; got ${shown}.`);
    return header;
  }
}

function jsonOf(text: string, column?: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new Error(`${nameOf(column)} is not JSON: ${messageOf(error)}.`);
  }
}

function valueIn(json: unknown, tagged: boolean, column?: string): unknown {
  try {
    return reviveFrozen(json, tagged).value;
  } catch (error) {
    throw new Error(`${nameOf(column)} cannot be read: ${messageOf(error)}.`);
  }
}

const nameOf = (column: string | undefined): string =>
  column === undefined ? 'It' : `Its field ${inspect(column)}`;

/** A key that can be stored. */
function checkedKey(key: unknown): Key {
  encodeKey(key as Key);
  return key as Key;
}
