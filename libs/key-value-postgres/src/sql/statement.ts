/** What the statements have in common: how time, addresses and columns are written. */
import { createHash } from 'node:crypto';
import { limits } from '@kvent/key-value-storage/provider';
import type { TableName } from './table-name.js';
import { concat, eq, le, minus, plus, times } from './operators.js';

/** A text that each connection prepares once, under its name. */
export interface Statement {
  readonly name: string;
  readonly text: string;
  /** Called with each line when it arrives: it may prepare what is done with the line later. */
  readonly received?: ((line: readonly (string | null)[]) => void) | undefined;
}

/**
 * What the texts depend on. `clock`: the server's, or one given to the provider, whose time is then
 * the last parameter.
 */
export interface Dialect {
  readonly table: TableName;
  readonly clock: 'server' | 'given';
  /** What is added to the ids of transactions in the feed; see `feed-columns.ts`. */
  readonly feedBase: string;
  /** The base is that of the numbers of the sequence below this one. */
  readonly feedBaseUntil: string;
}

/**
 * The name includes a digest of the text: a connection of the application's pool may serve
 * providers of several tables and releases.
 */
export function statement(name: string, text: string): Statement {
  const digest = createHash('sha256').update(text).digest('hex').slice(0, 12);
  return { name: `kvent_${name}_${digest}`, text };
}

/** The columns that make a row's identity, in the order of the primary key. */
export const identity = 'database, container, entity, key';

/** The types of array parameters, by their names in `pg_catalog`. */
type ElementType = 'text' | 'int4' | 'int8' | 'bool';

/**
 * Parameters that are arrays, side by side and numbered: each given as its number and the type of
 * its elements. Each is in a subquery, so that the planner does not know their lengths: for one or
 * two elements it would prefer a plan for just these, and plan at every run, which takes longer
 * than the run. `unnest` of several arrays has no name in `pg_catalog`: it is this `rows from`.
 */
export const arrays = (...parameters: readonly `${number} ${ElementType}`[]): string => {
  const each = parameters.map((parameter) => {
    const [number, type] = parameter.split(' ');
    return `pg_catalog.unnest((select $${number}::pg_catalog.${type}[]))`;
  });
  return `rows from (${each.join(', ')}) with ordinality`;
};

/**
 * Whole milliseconds since 1970, through a double, which is exact to the millisecond for any date
 * and cheaper than `extract`. The cast matters: the text of a double depends on the application's
 * `extra_float_digits`.
 */
export const epochMs = (time: string): string =>
  `(pg_catalog.date_part('epoch', ${time}) ${times} 1000)::pg_catalog.int8`;
export const milliseconds = (text: string): number => Number(text);

/** A count of milliseconds as a span, exact: every product is a whole number of microseconds. */
export const span = (ms: string): string => `(${ms} ${times} interval '1 millisecond')`;

/** A parameter of milliseconds since 1970 as a time. */
export const timeOf = (parameter: string): string =>
  `(pg_catalog.timestamptz 'epoch' ${plus} ${span(`${parameter}::pg_catalog.int8`)})`;

/** The time at which a reading statement began. `parameter`: that of a given clock's time. */
export const readTime = ({ clock }: Dialect, parameter: string): string =>
  clock === 'given' ? timeOf(parameter) : 'pg_catalog.statement_timestamp()';

/** The current time, in the whole milliseconds that are stored and compared. */
export const writeTime = ({ clock }: Dialect, parameter: string): string =>
  clock === 'given'
    ? timeOf(parameter)
    : "pg_catalog.date_trunc('milliseconds', pg_catalog.clock_timestamp())";

/**
 * A row as columns, for `decodeRow`. Rare parts share the last one, so that a plain row costs
 * little: the expiry or `-`, the TTL or `-`, then a value that is not JSON.
 */
export const rowColumns = (
  values: 'include' | 'omit',
  text = 'value',
  position: RowPosition = 'omit',
): string => {
  const meta = `version, ${epochMs('updated_at')}`;
  const [rare, placed] = position === 'omit' ? ['', ''] : [` or ${inFeed}`, `, ${feedPosition}`];
  return values === 'omit'
    ? `${meta}, null::pg_catalog.text, case when expires_at is not null${rare} then pg_catalog.concat_ws(' ', ${expiry}${placed}) end`
    : `${meta}, ${text}, ${rareParts(position)}`;
};

/**
 * Whether rows are read with their positions in the feed. A page of a space has none: it would cost
 * the load of a stream, whose every event has one.
 */
type RowPosition = 'include' | 'omit';
const inFeed = 'feed_sequence is not null';
const feedPosition = `'p' ${concat} feed_transaction ${concat} '.' ${concat} feed_sequence`;

const expiry = `coalesce(${epochMs('expires_at')}::pg_catalog.text, '-'), coalesce(ttl_ms::pg_catalog.text, '-')`;
const rareParts = (position: RowPosition): string => {
  const [rare, placed] = position === 'omit' ? ['', ''] : [` or ${inFeed}`, `, ${feedPosition}`];
  return `case when value is null or expires_at is not null${rare} then pg_catalog.concat_ws(' ', ${expiry}${placed}, number::pg_catalog.text, 'b' ${concat} pg_catalog.encode(bytes, 'base64')) end`;
};

const compressed = (column: string): string =>
  `pg_catalog.count(pg_catalog.pg_column_compression(${column}))`;
/** Of some rows: a value that is not compressed has no more bytes than it is stored with. */
const noneCompressed = `${compressed('value')} ${plus} ${compressed('bytes')} ${eq} 0`;

/** What joins the columns of a page. JSON cannot hold it; a key can, which the reader notices. */
export const separator = '\x1f';

interface PageShape {
  readonly position?: RowPosition;
  readonly bytesMax?: number;
}

interface LineShape extends PageShape {
  /** Columns of the line itself; `a` is the rows. */
  readonly head: readonly string[];
  /** Columns of the rows, before those that all rows have. */
  readonly first: readonly string[];
  readonly from: string;
  /** Common table expressions that the others use, with a comma behind them. */
  readonly before?: string;
}

/**
 * Rows of `from`, in their order, as one line: its head, whether the line is complete, and each
 * column of the rows (`first`, version, time, JSON, rare parts) joined by `separator`. So neither
 * side handles each column of each row: a page of 1,000 rows takes the server a fifth less, and the
 * client half.
 *
 * The line is left empty where the values may exceed `bytesMax`: where what is stored does, or
 * where a value is compressed. Neither fetches a value. `withinBytes` takes over then.
 */
export function asOneLine(shape: LineShape): string {
  const { head, first, from, before = '', position = 'omit', bytesMax = limits.pageBytesMax } = shape;
  const joined = (text: string): string => `pg_catalog.string_agg(${text}, pg_catalog.chr(31))`;
  const stored = (column: string): string =>
    `coalesce(pg_catalog.sum(pg_catalog.pg_column_size(${column})), 0)`;
  const columns = [
    ...first.map((column) => `${column}::pg_catalog.text`),
    'version::pg_catalog.text',
    `${epochMs('updated_at')}::pg_catalog.text`,
    `coalesce(value::pg_catalog.text, '')`,
    `coalesce(${rareParts(position)}, '')`,
  ];
  return `with ${before}a as materialized (${from}), fits as materialized (
  select ${stored('value')} ${plus} ${stored('bytes')} ${le} ${bytesMax} and ${noneCompressed} ok from a
)
select ${head.join(', ')}, (select ok from fits), ${columns.map(joined).join(', ')} from a where (select ok from fits)`;
}

/** The bytes of a row's value as it is stored, perhaps compressed: known without fetching it. */
const storedBytes = 'coalesce(pg_catalog.pg_column_size(value), pg_catalog.pg_column_size(bytes), 0)';
/** What the rows of a page can be stored with beyond their values. */
const storedSlack = 65_536;
/** Rows stored with no more than this are fetched once more to add up their own bytes. */
const storedSmall = 1_000_000;

/** The bytes of a row's value as they count for `pageBytesMax`. */
const valueBytes = (text: string): string =>
  `coalesce(pg_catalog.octet_length(${text}), pg_catalog.octet_length(bytes), 8)`;

/**
 * Rows of `from`, in their order, up to the one with which their values exceed `pageBytesMax`, that
 * one included: it shows the reader that there is more. Each line has the columns `first` and then
 * those of `rowColumns`. `order`: of the rows of `from`, where they have one.
 *
 * Most pages fit as a whole, which two sums decide: first of the stored sizes, then, where a value
 * is compressed, of the values. For the others each row gets the sum of those before it, at three
 * times the price of the page. Large values lie outside the table, and one is fetched only if the
 * values before it leave room.
 */
export const withinBytes = (
  first: readonly string[],
  from: string,
  order?: string,
  { position = 'omit', bytesMax = limits.pageBytesMax }: PageShape = {},
): string => {
  const columns = Array.from({ length: first.length + 4 }, (_, index) => `c${index + 1}`).join(', ');
  const window = `(${order === undefined ? '' : `order by ${order} `}rows unbounded preceding)`;
  const before = (bytes: string): string => `pg_catalog.sum(${bytes}) over ${window} ${minus} ${bytes}`;
  const total = (bytes: string): string => `coalesce(pg_catalog.sum(${bytes}), 0)`;
  const text = 'value::pg_catalog.text';
  return `with a as materialized (${from}), small as materialized (select ${total(storedBytes)} ${le} ${storedSmall} ok, ${noneCompressed} plain from a),
fits as materialized (select (select ok from small) and ${total(valueBytes(text))} ${le} ${bytesMax} ok from a where (select ok and not plain from small))
select ${first.join(', ')}, ${rowColumns('include', text, position)} from a where (select ok from fits)
union all
select ${columns} from (
  select ${first.join(', ')}, ${rowColumns('include', 'js', position)}, ${before(valueBytes('js'))} from (
    select *, ${text} js from (select *, ${before(storedBytes)} stored_before from a where not (select ok from fits)) b
    where stored_before ${le} ${bytesMax + storedSlack} offset 0) c
) d(${columns}, bytes_before) where bytes_before ${le} ${bytesMax}`;
};
