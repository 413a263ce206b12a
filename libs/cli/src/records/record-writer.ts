/** Entries as JSON lines or CSV. */
import { printable, storageError, type RawRow } from '@kvent/key-value-storage/internal/rows';
import { keyJson, keyText } from '../input/key.js';
import { keyColumnDefault } from '../input/record-options.js';
import { UsageError } from '../input/usage-error.js';
import { timeText } from '../output/report.js';
import { valueJson } from '../output/stored-value.js';
import { recordOf } from './csv.js';

export interface CsvWriterOptions {
  readonly key?: string;
  readonly columns?: readonly string[];
  readonly jsonColumns?: readonly string[];
}

/** As `kvent get --json` prints a value, with the time to live by which it is renewed. */
export const jsonLine = ({ key, row }: RawRow): string => {
  const line = {
    key: keyJson(key),
    etag: row.version,
    updatedAt: timeText(row.updatedAt),
    expiresAt: row.expiresAt === undefined ? null : timeText(row.expiresAt),
    ...(row.ttlMs !== undefined && { ttlMs: row.ttlMs }),
    ...valueJson(row),
  };
  return `${printable(JSON.stringify(line))}\n`;
};

/** Texts are written as they are, unless their column holds JSON; all other values are JSON. */
export class CsvWriter {
  readonly #keyColumn: string;
  readonly #json: ReadonlySet<string>;
  readonly #chosen: readonly string[] | undefined;
  #columns: readonly string[] | undefined;

  constructor({ key = keyColumnDefault, columns, jsonColumns = [] }: CsvWriterOptions) {
    this.#keyColumn = key;
    this.#json = new Set(jsonColumns);
    this.#chosen = columns;
    for (const name of [...(columns ?? []), ...jsonColumns])
      if (name === key)
        throw new UsageError(`The column of the keys must have a name of its own; got ${name}.`);
  }

  /** The record of an entry; before the first one, the header. */
  readonly line = ({ key, row }: RawRow): string => {
    const { value } = valueJson(row);
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw unsuitable(`The value at ${keyText(key)} is no object: it has no columns.`);
    const properties = new Map(Object.entries(value));
    const isFirst = this.#columns === undefined;
    const columns = this.#columnsFor(keyText(key), properties);
    const fields = columns.map((name) => this.#field(name, properties.get(name)));
    return `${isFirst ? this.#record(this.#keyColumn, columns) : ''}${this.#record(keyText(key), fields)}`;
  };

  /** Of an export without entries. */
  header(): string {
    return this.#record(this.#keyColumn, this.#chosen ?? []);
  }

  /** Without a choice, those of the first entry; a property that has none is not left out. */
  #columnsFor(key: string, properties: ReadonlyMap<string, unknown>): readonly string[] {
    this.#columns ??= this.#chosen ?? [...properties.keys()];
    if (this.#chosen !== undefined) return this.#columns;
    for (const name of properties.keys())
      if (name === this.#keyColumn || !this.#columns.includes(name))
        throw unsuitable(
          `The property ${name} of ${key} has no column: choose the columns with --columns, and their name with --key.`,
        );
    return this.#columns;
  }

  #field(name: string, value: unknown): string {
    if (value === undefined) return '';
    return typeof value === 'string' && !this.#json.has(name) ? value : JSON.stringify(value);
  }

  #record(key: string, fields: readonly string[]): string {
    return `${recordOf([key, ...fields])}\r\n`;
  }
}

const unsuitable = (message: string): Error =>
  storageError('INVALID_VALUE', message, { issues: [{ message }] });
