/**
 * A page of a space in parts, each of which is one line: the reader decodes a part while the server
 * reads the next, and neither side handles each column of each row. Against one line for the whole
 * page, a page of 1,000 events takes the server a third less (texts above 128 KB cost it most), and
 * the client a quarter less.
 */
import { limits, type Row, type ScannedRow, type ScanRange } from '@kvent/key-value-storage/provider';
import { TextArray } from './array-parameters.js';
import { decodeRow, type Columns } from './decode-row.js';
import { concat, eq, ge, gt, isRow, le, lt, unexpired } from './operators.js';
import {
  arrays,
  epochMs,
  milliseconds,
  readTime,
  rowColumns,
  separator,
  statement,
  type Dialect,
  type Statement,
} from './statement.js';

/** Whether `scanInParts` can read the range, and is the better statement. */
export const isInParts = ({ parts, alsoRead, after, values }: ScanRange): boolean =>
  (parts !== undefined || alsoRead !== undefined) && after === undefined && values !== 'omit';

/**
 * The maximum of bytes of a value in a part, so that the texts of 1,000 rows are within
 * `pageBytesMax`. A larger one leaves its page to the other statements.
 */
const valueBytesMax = 8_000;
/** Between values. JSON of Kvent has no line feed; the reader counts the values. */
const comma = ',\n';

/**
 * The live rows of one space ($1 to $3) in parts, each from the key in $4 up to that in $5, at most
 * as many as in $6. Before them, with number 0, the rows of the same database at $7 to $9.
 *
 * `json_send` copies a value once, a cast to text twice. The size of a compressed value is known
 * only when it is fetched.
 */
export function scanInParts(dialect: Dialect, { reverse = false }: ScanRange): Statement {
  const now = readTime(dialect, '$10');
  const order = reverse ? 'desc' : 'asc';
  const table = dialect.table.quoted;
  const text = 'pg_catalog.text';
  const joined = (column: string): string => `pg_catalog.string_agg(${column}, pg_catalog.chr(31))`;
  const bytes = `case when pg_catalog.pg_column_compression(value) is null
      then pg_catalog.pg_column_size(value) else pg_catalog.octet_length(value::${text}) end`;
  const alsoRead = `select ${epochMs(now)}, 0::pg_catalog.int8, true, c.i::${text}, c.version::${text}, c.updated::${text}, c.value, c.rare
from (select o.i, ${rowColumns('include', `value::${text}`, 'include')}
  from ${arrays('7 text', '8 text', '9 text')} o(co, en, ke, i)
  cross join lateral (select * from ${table}
    where ${isRow('$1', 'o.co', 'o.en', 'o.ke')} and ${unexpired('expires_at', now)} offset 0) r) c(i, version, updated, value, rare)`;
  const parts = `select ${epochMs(now)}, p.i, s.*, null
from ${arrays('4 text', '5 text', '6 int4')} p(low, high, most, i)
cross join lateral (
  select pg_catalog.bool_and(fits), ${joined('key')}, ${joined(`version::${text}`)}, ${joined(`${epochMs('updated_at')}::${text}`)},
    pg_catalog.convert_from('\\x5b'::pg_catalog.bytea ${concat} pg_catalog.string_agg(case when fits then pg_catalog.json_send(value) end, '\\x2c0a'::pg_catalog.bytea) ${concat} '\\x5d'::pg_catalog.bytea, 'UTF8')
  from (
    select key, version, updated_at, value, value is not null and expires_at is null and ${bytes} ${le} ${valueBytesMax} fits
    from ${table}
    where database ${eq} $1 and container ${eq} $2 and entity ${eq} $3 and key ${ge} p.low and key ${lt} p.high and ${unexpired('expires_at', now)}
    order by key ${order} limit p.most
  ) a having pg_catalog.count(*) ${gt} 0
) s`;
  return statement(`scan_parts_${order}`, `${alsoRead}\nunion all\n${parts}`);
}

/** Above every key. */
const aboveKeys = '\u{10FFFF}'.repeat(limits.keyBytesMax / 4 + 1);

/** The parameters of `scanInParts`. */
export function partParameters(range: ScanRange): readonly unknown[] {
  const { database, container, entity, start = '', end = aboveKeys, alsoRead = [] } = range;
  const splits = splitsOf(range);
  return [
    database,
    container,
    entity,
    new TextArray([start, ...splits]),
    new TextArray([...splits, end]),
    mostOf(range),
    new TextArray(alsoRead.map((address) => address.container)),
    new TextArray(alsoRead.map((address) => address.entity)),
    new TextArray(alsoRead.map(({ key }) => key)),
  ];
}

/** None in reverse: the last key is not known, so its parts would not be those of the page. */
const splitsOf = ({ reverse, parts }: ScanRange): readonly string[] =>
  reverse === true || parts === undefined ? [] : parts.splitAt;

/** How many rows each part is asked for: the last one for what the others leave of the page. */
function mostOf(range: ScanRange): readonly number[] {
  const { limit, parts } = range;
  const splits = splitsOf(range);
  return [...splits.map(() => limit + 1), Math.max(1, limit + 1 - splits.length * (parts?.rows ?? 0))];
}

/**
 * The rows of a line. Throws where its columns do not have one item for each row.
 *
 * The promises of a call that waits for long are old objects, and what they resolve to is kept by
 * young garbage collections even if nothing needs it any more. So a page is small once its values
 * are taken: with sixteen readers the collections took half of the time.
 */
class Part {
  readonly time: number;
  readonly rows: readonly ScannedRow[];
  /** When the last of its rows was written. */
  readonly latest: number;
  /** Of the values, at most: a character takes three. */
  readonly bytesMost: number;
  readonly #versions: readonly string[];
  readonly #times: readonly number[];
  readonly #text: string;
  #texts: readonly string[] | undefined;
  readonly #values: unknown[];

  constructor([time, , , keys, versions, times, text]: readonly string[]) {
    this.time = milliseconds(time as string);
    this.#text = text as string;
    this.bytesMost = this.#text.length * 3;
    // one parse of an array takes less than one for each item
    this.#values = JSON.parse(this.#text) as unknown[];
    this.#versions = (versions as string).split(separator);
    this.#times = (times as string).split(separator).map(milliseconds);
    this.latest = Math.max(...this.#times);
    const names = (keys as string).split(separator);
    if (names.length !== this.#versions.length) throw new Error('a key has the separator in it');
    if (linesOf(this.#text) !== names.length) throw new Error('a value has the separator in it');
    this.rows = names.map((key, index) => new RowInPart(this, index, key));
  }

  get #split(): readonly string[] {
    return (this.#texts ??= this.#text.slice(1, -1).split(comma));
  }

  row(index: number): Row {
    return {
      version: this.#versions[index] as string,
      value: new ValueInPart(this, index),
      updatedAt: this.#times[index] as number,
    };
  }

  textOf(index: number): string {
    return this.#split[index] as string;
  }

  take(index: number): unknown {
    const value = this.#values[index];
    this.#values[index] = undefined;
    return value;
  }
}

function linesOf(text: string): number {
  let lines = 1;
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) lines += 1;
  return lines;
}

/** Its text is cut out where it is needed. */
class ValueInPart {
  readonly kind = 'json';
  readonly #part: Part;
  readonly #index: number;

  constructor(part: Part, index: number) {
    this.#part = part;
    this.#index = index;
  }

  get text(): string {
    return this.#part.textOf(this.#index);
  }

  take(): unknown {
    return this.#part.take(this.#index);
  }
}

/** Its row is made when it is read. */
class RowInPart implements ScannedRow {
  readonly key: string;
  readonly #part: Part;
  readonly #index: number;

  constructor(part: Part, index: number, key: string) {
    this.#part = part;
    this.#index = index;
    this.key = key;
  }

  get row(): Row {
    return this.#part.row(this.#index);
  }
}

/** A line, and its part once that is decoded. */
type Line = Columns & { part?: Part | undefined };

/**
 * Decodes a line before the next is there. A call that is alone waits for nothing else; of several,
 * one is decoded while the others wait, and what is decoded early is kept for long.
 */
export function receivePart(line: Line): void {
  if (line[1] !== '0') line.part = partOf(line);
}

/** Undefined where the line has not all of its rows. */
function partOf(line: Columns): Part | undefined {
  if (line[2] !== 't') return undefined;
  try {
    return new Part(line as readonly string[]);
  } catch {
    return undefined;
  }
}

interface ScannedParts {
  readonly alsoRead: readonly (Row | undefined)[] | undefined;
  /** Undefined where another statement has to read the page. */
  readonly page:
    | { readonly time: number; readonly rows: readonly ScannedRow[]; readonly more: boolean }
    | undefined;
  /** When the last of the rows was written. */
  readonly latest: number;
}

/** What `scanInParts` has read. */
export function decodeParts(lines: readonly Line[], range: ScanRange): ScannedParts {
  const alsoRead = range.alsoRead && new Array<Row | undefined>(range.alsoRead.length).fill(undefined);
  const most = mostOf(range);
  const rows: ScannedRow[] = [];
  let [time, latest, bytes, more, isWhole] = [0, 0, 0, false, true];
  for (const line of lines) {
    time = milliseconds(line[0] as string);
    const number = Number(line[1]);
    const part = number === 0 ? undefined : (line.part ?? partOf(line));
    // the promise of the statement may keep the line
    line.part = undefined;
    if (number === 0 && alsoRead !== undefined) alsoRead[Number(line[3]) - 1] = decodeRow(line, 4, 'include');
    else if (part === undefined) isWhole = false;
    else if (!more) {
      bytes += part.bytesMost;
      latest = Math.max(latest, part.latest);
      for (const row of part.rows) rows.push(row);
      // it may have more
      more = part.rows.length === most[number - 1];
      if (more) rows.pop();
    }
  }
  // without a line there is no time
  if (!isWhole || lines.length === 0 || bytes > limits.pageBytesMax || (more && rows.length === 0))
    return { alsoRead, page: undefined, latest };
  const page = rows.length > range.limit ? { rows: rows.slice(0, range.limit), more: true } : { rows, more };
  return { alsoRead, page: { time, ...page }, latest };
}
