/** Options of `kvent import` and `kvent export`: names of columns, and what follows a failure. */
import { UsageError } from './usage-error.js';

export function columnsFrom(text: string): readonly string[] {
  const names = text.split(',');
  if (!names.includes('') && new Set(names).size === names.length) return names;
  throw new UsageError('It must be different names with commas between them.');
}

interface CsvOptions {
  readonly csv?: boolean;
  readonly key?: string;
  readonly columns?: readonly string[];
  readonly jsonColumns?: readonly string[];
}

export const keyColumnDefault = 'key';

/** Without `--csv` the options of CSV would have no effect. */
export function assertCsvOptions({ csv, key, columns, jsonColumns }: CsvOptions): void {
  if (csv !== true && (key ?? columns ?? jsonColumns) !== undefined)
    throw new UsageError('--key, --columns and --json-columns need --csv.');
}

export function onErrorFrom(text: string): 'stop' | 'continue' {
  if (text === 'stop' || text === 'continue') return text;
  throw new UsageError("It must be 'stop' or 'continue'.");
}
