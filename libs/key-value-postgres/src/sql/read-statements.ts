/** Reading: one row by its address, many addresses in one statement, a page of a space. */
import {
  limits,
  withinPageBytes,
  type Address,
  type CountRange,
  type Row,
  type ScanRange,
  type ScannedRow,
} from '@kvent/key-value-storage/provider';
import { TextArray } from './array-parameters.js';
import { decodeJoined, decodeRow, type Columns } from './decode-row.js';
import { eq, gt, ge, isRow, le, lt, minus, unexpired } from './operators.js';
import {
  arrays,
  asOneLine,
  milliseconds,
  readTime,
  rowColumns,
  epochMs,
  statement,
  withinBytes,
  type Dialect,
  type Statement,
} from './statement.js';

type Values = 'include' | 'omit';

/**
 * The row at $1 to $4, if it is live, and the time. No line when there is none: a join that returns
 * the time alone would cost every read 7 %.
 */
export function readOne(dialect: Dialect, values: Values): Statement {
  const now = readTime(dialect, '$5');
  return statement(
    `get_${values}`,
    `select ${epochMs(now)}, ${rowColumns(values, undefined, 'include')} from ${dialect.table.quoted}
where ${isRow('$1', '$2', '$3', '$4')} and ${unexpired('expires_at', now)}`,
  );
}

/**
 * The live rows at the addresses in the arrays $1 to $4, each with its number, and the time in
 * every line. `offset 0` keeps the planner from joining the look-ups, with a plan that is wrong
 * once a small table has grown.
 */
export function readMany(dialect: Dialect, values: Values): Statement {
  const now = readTime(dialect, '$5');
  return statement(
    `get_many_${values}`,
    `select ${epochMs(now)}, o.i, ${rowColumns(values, undefined, 'include')}
from ${arrays('1 text', '2 text', '3 text', '4 text')} o(db, co, en, ke, i)
left join lateral (select * from ${dialect.table.quoted}
  where ${isRow('o.db', 'o.co', 'o.en', 'o.ke')} and ${unexpired('expires_at', now)} offset 0) r on true`,
  );
}

/** What a row is made of, beside its address. */
export const rowParts =
  'version, updated_at, expires_at, ttl_ms, number, value, bytes, feed_transaction, feed_sequence';

/** The same as one line, without those that are absent. */
export function readManyAsLine(dialect: Dialect): Statement {
  const now = readTime(dialect, '$5');
  const rows = `select o.i, r.* from ${arrays('1 text', '2 text', '3 text', '4 text')} o(db, co, en, ke, i)
cross join lateral (select ${rowParts} from ${dialect.table.quoted}
  where ${isRow('o.db', 'o.co', 'o.en', 'o.ke')} and ${unexpired('expires_at', now)} offset 0) r`;
  return statement(
    'get_many_line',
    asOneLine({ head: [epochMs(now)], first: ['i'], from: rows, position: 'include' }),
  );
}

/** The same, limited to the bytes of one read: see `withinBytes`. */
export function readManyWithin(dialect: Dialect): Statement {
  const now = readTime(dialect, '$5');
  const rows = `select * from ${arrays('1 text', '2 text', '3 text', '4 text')} o(db, co, en, ke, i)
left join lateral (select * from ${dialect.table.quoted}
  where ${isRow('o.db', 'o.co', 'o.en', 'o.ke')} and ${unexpired('expires_at', now)} offset 0) r on true`;
  return statement(
    'get_many_within',
    `select ${epochMs(now)}, s.* from (${withinBytes(['i'], rows, undefined, { position: 'include' })}) s`,
  );
}

/**
 * The live rows of one space ($1 to $3) whose keys are in the array $4, each with its key, and the
 * time in every line: half the price of `readMany`.
 */
export function readSpace(dialect: Dialect, values: Values): Statement {
  const now = readTime(dialect, '$5');
  return statement(
    `get_space_${values}`,
    `select ${epochMs(now)}, key, ${rowColumns(values, undefined, 'include')} from ${dialect.table.quoted}
where ${isRow('$1', '$2', '$3', 'any ((select $4::pg_catalog.text[])::pg_catalog.text[])')} and ${unexpired('expires_at', now)}`,
  );
}

/** The same as one line. */
export function readSpaceAsLine(dialect: Dialect): Statement {
  const now = readTime(dialect, '$5');
  const rows = `select key, ${rowParts} from ${dialect.table.quoted}
where ${isRow('$1', '$2', '$3', 'any ((select $4::pg_catalog.text[])::pg_catalog.text[])')} and ${unexpired('expires_at', now)}`;
  return statement(
    'get_space_line',
    asOneLine({ head: [epochMs(now)], first: ['key'], from: rows, position: 'include' }),
  );
}

/** The same, limited to the bytes of one read: see `withinBytes`. */
export function readSpaceWithin(dialect: Dialect): Statement {
  const now = readTime(dialect, '$5');
  const rows = `select * from ${dialect.table.quoted}
where ${isRow('$1', '$2', '$3', 'any ((select $4::pg_catalog.text[])::pg_catalog.text[])')} and ${unexpired('expires_at', now)}`;
  return statement(
    'get_space_within',
    `select ${epochMs(now)}, s.* from (${withinBytes(['key'], rows, undefined, { position: 'include' })}) s`,
  );
}

/** The parameters of `readSpace`, when the addresses are all of one space. */
export function spaceParameters(addresses: readonly Address[]): readonly unknown[] | undefined {
  const [{ database, container, entity } = { database: '', container: '', entity: '' }] = addresses;
  const isOne = addresses.every(
    (other) => other.entity === entity && other.container === container && other.database === database,
  );
  return isOne ? [database, container, entity, new TextArray(addresses.map(({ key }) => key))] : undefined;
}

interface Read {
  readonly time: number;
  readonly rows: (Row | undefined)[];
}

/** The rows of a line, in the order of the addresses. Undefined: see `asOneLine`. */
export function decodeManyLine([line]: readonly Columns[], count: number): Read | undefined {
  const joined = line && decodeJoined(line);
  if (joined === undefined) return undefined;
  const rows = new Array<Row | undefined>(count).fill(undefined);
  for (const [index, name] of joined.names.entries()) rows[Number(name) - 1] = joined.rows[index];
  return { time: joined.time, rows };
}

export function decodeSpaceLine([line]: readonly Columns[], addresses: readonly Address[]): Read | undefined {
  const joined = line && decodeJoined(line);
  if (joined === undefined) return undefined;
  const found = new Map(joined.names.map((name, index) => [name, joined.rows[index]]));
  return { time: joined.time, rows: addresses.map(({ key }) => found.get(key)) };
}

/** The rows of `readMany`, in the order of the addresses. */
export function decodeMany(lines: readonly Columns[], count: number, values: Values): Read {
  const rows = new Array<Row | undefined>(count).fill(undefined);
  for (const line of lines) if (line[2] !== null) rows[Number(line[1]) - 1] = decodeRow(line, 2, values);
  return { time: milliseconds(lines[0]?.[0] as string), rows };
}

/**
 * The rows of `readSpace`, in the order of the addresses. Undefined when there are none: then there
 * is no time either.
 */
export function decodeSpace(
  lines: readonly Columns[],
  addresses: readonly Address[],
  values: Values,
): Read | undefined {
  const [first] = lines;
  if (first === undefined) return undefined;
  const found = new Map(lines.map((line) => [line[1], line]));
  const rows = addresses.map(({ key }) => {
    const line = found.get(key);
    return line === undefined ? undefined : decodeRow(line, 2, values);
  });
  return { time: milliseconds(first[0] as string), rows };
}

/** The time alone. */
export const readClock = (dialect: Dialect): Statement =>
  statement('clock', `select ${epochMs(readTime(dialect, '$1'))}`);

/** Pages of more rows than this may exceed `pageBytesMax`. */
const smallPage = Math.floor(limits.pageBytesMax / limits.valueBytesMax);

/** Whether the values of a page may exceed `pageBytesMax`: only then the server adds them up. */
export const mayBeLarge = ({ limit, values = 'include' }: ScanRange): boolean =>
  values === 'include' && limit > smallPage;

/**
 * A page of one space in key order, with one row more than the limit to show whether there are
 * more. Its bounds are parameters from $5 on. A page that may be large ends with the row that
 * exceeds `pageBytesMax`.
 */
export function scanOne(dialect: Dialect, range: ScanRange): Statement {
  const { reverse = false, values = 'include' } = range;
  const { rows, name, now } = pageOf(dialect, range);
  const page = mayBeLarge(range)
    ? withinBytes(['key'], rows('*'), `key ${reverse ? 'desc' : 'asc'}`)
    : rows(`key ke, ${rowColumns(values)}`);
  return statement(
    `scan_${name}_${mayBeLarge(range) ? 'within' : values}`,
    `select ${epochMs(now)}, s.* from (select 1) one left join lateral (${page}) s on true`,
  );
}

/** The same as one line, for a page that may be large. */
export function scanAsLine(dialect: Dialect, range: ScanRange): Statement {
  const { rows, name, now } = pageOf(dialect, range);
  const line = asOneLine({ head: [epochMs(now)], first: ['key'], from: rows(`key, ${rowParts}`) });
  return statement(`scan_line_${name}`, line);
}

/**
 * The number of live rows of a range: those in the primary key, less those that have expired. So
 * the live ones are counted in an index-only scan, although the key does not hold their expiry, and
 * the index of expiries finds the others, which the sweep keeps few. The bounds are parameters from
 * $4 on.
 */
export function countRange(dialect: Dialect, { start, end }: CountRange): Statement {
  const bounds = [...(start === undefined ? [] : [ge]), ...(end === undefined ? [] : [lt])];
  const within = bounds.map((operator, index) => ` and key ${operator} $${4 + index}`).join('');
  const now = readTime(dialect, `$${4 + bounds.length}`);
  const counted = (also: string): string => `(select pg_catalog.count(*) from ${dialect.table.quoted}
  where database ${eq} $1 and container ${eq} $2 and entity ${eq} $3${within}${also})`;
  return statement(
    `count_${start === undefined ? '' : 's'}${end === undefined ? '' : 'e'}`,
    `select ${counted('')} ${minus} ${counted(` and expires_at ${le} ${now}`)}`,
  );
}

/** The parameters of `countRange`. */
export const countParameters = ({
  database,
  container,
  entity,
  start,
  end,
}: CountRange): readonly unknown[] => [
  database,
  container,
  entity,
  ...[start, end].filter((bound) => bound !== undefined),
];

interface PageParts {
  readonly rows: (columns: string) => string;
  readonly name: string;
  readonly now: string;
}

function pageOf(dialect: Dialect, { start, end, after, reverse = false }: ScanRange): PageParts {
  const bounds = [
    ...(start === undefined ? [] : [ge]),
    ...(end === undefined ? [] : [lt]),
    ...(after === undefined ? [] : [reverse ? lt : gt]),
  ];
  const now = readTime(dialect, `$${5 + bounds.length}`);
  const order = reverse ? 'desc' : 'asc';
  const within = bounds.map((operator, index) => ` and key ${operator} $${5 + index}`).join('');
  const rows = (columns: string): string => `select ${columns} from ${dialect.table.quoted}
  where database ${eq} $1 and container ${eq} $2 and entity ${eq} $3${within} and ${unexpired('expires_at', now)}
  order by key ${order} limit $4::pg_catalog.int4`;
  return { rows, name: `${order}${bounds.length}`, now };
}

/** The parameters of `scanOne`. */
export const scanParameters = ({
  database,
  container,
  entity,
  start,
  end,
  after,
  limit,
}: ScanRange): readonly unknown[] => [
  database,
  container,
  entity,
  limit + 1,
  ...[start, end, after].filter((bound) => bound !== undefined),
];

interface Scanned {
  readonly time: number;
  readonly rows: ScannedRow[];
  readonly more: boolean;
}

export function decodeScan(lines: readonly Columns[], { limit, values = 'include' }: ScanRange): Scanned {
  const found = lines.filter((line) => line[1] !== null);
  const rows = found
    .slice(0, limit)
    .map((line) => ({ key: line[1] as string, row: decodeRow(line, 2, values) }));
  return withinPageBytes({ time: milliseconds(lines[0]?.[0] as string), rows, more: found.length > limit });
}

/** The rows of `scanAsLine`; undefined: see `asOneLine`. */
export function decodeScanLine([line]: readonly Columns[], { limit }: ScanRange): Scanned | undefined {
  const joined = line && decodeJoined(line);
  if (joined === undefined) return undefined;
  const { time, names } = joined;
  const rows = joined.rows.slice(0, limit).map((row, index) => ({ key: names[index] as string, row }));
  return withinPageBytes({ time, rows, more: names.length > limit });
}
