/** What the statements have in common: how time, addresses and columns are written. */
import { createHash } from 'node:crypto';
import { limits } from '@kvent/key-value-storage/provider';
import type { TableName } from './table-name.js';
import { concat, le, minus, plus, times } from './operators.js';

/** One text, prepared once for each connection under its name. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

/**
 * What the texts depend on. `clock`: the database's own, or the one that the provider was given
 * (its time is then the last parameter).
 */
export interface Dialect {
  readonly table: TableName;
  readonly clock: 'server' | 'given';
}

/**
 * The name tells other tables, and other releases, apart: a connection of the application's pool
 * may serve several providers.
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
 * its elements. Each stands in a query of its own, so that the planner does not count them: for one
 * or two elements it would think a plan for just these cheaper than any other, and plan at every
 * run, which takes longer than the run. `unnest` of several arrays has no name in `pg_catalog`: it
 * is this `rows from`.
 */
export const arrays = (...parameters: readonly `${number} ${ElementType}`[]): string => {
  const each = parameters.map((parameter) => {
    const [number, type] = parameter.split(' ');
    return `pg_catalog.unnest((select $${number}::pg_catalog.${type}[]))`;
  });
  return `rows from (${each.join(', ')}) with ordinality`;
};

/**
 * Milliseconds since 1970, whole: by way of a double, which is exact to the millisecond for any
 * date and cheaper than `extract`; its own text would have as few digits as the application's
 * `extra_float_digits` leaves it.
 */
export const epochMs = (time: string): string =>
  `(pg_catalog.date_part('epoch', ${time}) ${times} 1000)::pg_catalog.int8`;
export const milliseconds = (text: string): number => Number(text);

/** A count of milliseconds as a span, exact: every product is a whole number of microseconds. */
export const span = (ms: string): string => `(${ms} ${times} interval '1 millisecond')`;

/** A parameter of milliseconds since 1970 as a time. */
export const timeOf = (parameter: string): string =>
  `(pg_catalog.timestamptz 'epoch' ${plus} ${span(`${parameter}::pg_catalog.int8`)})`;

/**
 * The time at which a statement that only reads began. `parameter`: where a given clock's time
 * stands.
 */
export const readTime = ({ clock }: Dialect, parameter: string): string =>
  clock === 'given' ? timeOf(parameter) : 'pg_catalog.statement_timestamp()';

/** The time of the moment, in the whole milliseconds that are stored and compared. */
export const writeTime = ({ clock }: Dialect, parameter: string): string =>
  clock === 'given'
    ? timeOf(parameter)
    : "pg_catalog.date_trunc('milliseconds', pg_catalog.clock_timestamp())";

/**
 * A row as columns, for `decodeRow`. What is rare stands together in the last one, so that a plain
 * row costs little: `-` or its expiry, its TTL, then a value that is no JSON.
 */
export const rowColumns = (values: 'include' | 'omit', text = 'value::pg_catalog.text'): string => {
  const meta = `version, ${epochMs('updated_at')}`;
  const expiry = `coalesce(${epochMs('expires_at')}::pg_catalog.text, '-'), coalesce(ttl_ms::pg_catalog.text, '-')`;
  if (values === 'omit') {
    return `${meta}, null::pg_catalog.text, case when expires_at is not null then pg_catalog.concat_ws(' ', ${expiry}) end`;
  }
  const rare = `pg_catalog.concat_ws(' ', ${expiry}, number::pg_catalog.text, 'b' ${concat} pg_catalog.encode(bytes, 'base64'))`;
  return `${meta}, ${text}, case when value is null or expires_at is not null then ${rare} end`;
};

/**
 * How many bytes a row's value takes as it is stored, told without fetching it: a few more than it
 * has as text at most, often far fewer.
 */
const storedBytes = 'coalesce(pg_catalog.pg_column_size(value), pg_catalog.pg_column_size(bytes), 0)';
/** What the rows of a page can be stored with beyond their values. */
const storedSlack = 65_536;

/** The bytes of a row's value as they count for `pageBytesMax`. */
const valueBytes = 'coalesce(pg_catalog.octet_length(js), pg_catalog.octet_length(bytes), 8)';

/**
 * Rows of `from`, in the order they come in, up to the one with which their values are over
 * `pageBytesMax`, that one included: whoever reads them sees that there is more. Large values lie
 * outside the table, and one is fetched only if those before it leave room: by the sizes they are
 * stored with first, then by their own. Each line has the columns `first` and then those of
 * `rowColumns`. `order`: of the rows of `from`, where they have one.
 */
export const withinBytes = (first: readonly string[], from: string, order?: string): string => {
  const columns = Array.from({ length: first.length + 4 }, (_, index) => `c${index + 1}`).join(', ');
  const window = `(${order === undefined ? '' : `order by ${order} `}rows unbounded preceding)`;
  const before = (bytes: string): string => `pg_catalog.sum(${bytes}) over ${window} ${minus} ${bytes}`;
  return `select ${columns} from (
  select ${first.join(', ')}, ${rowColumns('include', 'js')}, ${before(valueBytes)} from (
    select *, value::pg_catalog.text js from (select *, ${before(storedBytes)} stored_before from (${from}) a) b
    where stored_before ${le} ${limits.pageBytesMax + storedSlack} offset 0) c
) d(${columns}, bytes_before) where bytes_before ${le} ${limits.pageBytesMax}`;
};
