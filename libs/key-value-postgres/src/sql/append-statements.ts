/**
 * THE SQL OF AN APPEND, and of every batch that creates rows if one number is still what was read:
 * the number changes, and the rows are created. A batch without such a number only creates. These
 * are fast paths: a batch whose number is another, or that lies elsewhere by now, is skipped and
 * gets no line. If a row that should be created exists, the statement fails and does nothing, and
 * the general statement decides each batch.
 *
 * Locks are taken in the order of `changeRows`: first the numbers, as given, then the created rows.
 */
import { assertBase, feedTransaction, nextFeedSequence } from './feed-columns.js';
import { held, lockTimeout, lockTimeoutSet, verified } from './general-statement.js';
import { lasting, one } from './fast-path-statements.js';
import { eq, ge, le, plus } from './operators.js';
import {
  arrays,
  epochMs,
  identity,
  span,
  statement,
  writeTime,
  type Dialect,
  type Statement,
} from './statement.js';

/** In the message of the deliberate failure, which operators see in the log of the server. */
export const fastPathMark = 'kvent: a row exists already, each batch is decided by itself';

export function appendRows(dialect: Dialect): Statement {
  const { quoted } = dialect.table;
  const now = writeTime(dialect, '$21');
  const heads = arrays('2 text', '3 text', '4 text', '5 text', '6 int8', '7 int8', '8 int8', '9 int4');
  const rows = arrays(
    ...([
      '10 text',
      '11 text',
      '12 text',
      '13 text',
      '14 int8',
      '15 text',
      '16 int8',
      '17 int8',
      '18 int4',
      '19 bool',
      '20 bool',
    ] as const),
  );
  return statement(
    'append',
    `with l as materialized (
  select o.*, r.* from ${lockTimeoutSet}, ${heads} o(db, co, en, ke, exp, num, ver, b, i)
  ${held(quoted, 'ctid place', `and number ${eq} exp and ${lasting(now, '$1')}`)}
), c as materialized (
  select case when pg_catalog.count(*) ${ge} 0 then ${now} end t from l
), u as (
  update ${quoted} r set version = ver, number = num, feed_transaction = null, feed_sequence = null, updated_at = greatest(t, updated_at), expires_at = null, ttl_ms = null
  from (select l.*, t from l cross join c offset 0) l where r.ctid ${eq} l.place returning b, updated_at bt
), p as materialized (
  select p.*, t, coalesce(u.bt, t) bt, case when feed then ${nextFeedSequence(dialect)} end fs from ${rows} p(db, co, en, ke, ver, val, num, ttl, b, guarded, feed, i)
  cross join c left join u on u.b ${eq} p.b where guarded is not true or u.b is not null order by i
), n as (
  insert into ${quoted} (${identity}, version, updated_at, expires_at, ttl_ms, value, number, feed_transaction, feed_sequence)
  select db, co, en, ke, ver, bt, t ${plus} ${span('ttl')}, ttl, val::pg_catalog.json, num, case when feed then ${feedTransaction(dialect)} end, fs from p order by i returning 1
)
select b, ${epochMs('pg_catalog.min(t)')}, ${epochMs('pg_catalog.min(bt)')}, ${verified('(select pg_catalog.count(*) from n)', '(select pg_catalog.count(*) from p)', fastPathMark, assertBase(dialect, 'pg_catalog.max(fs)'))}, ${feedTransaction(dialect)}, pg_catalog.max(fs) from p group by b`,
  );
}

/** How many created rows have parameters of their own; more rows are arrays. */
export type CreatedRows = 1 | 2 | 3 | 4 | 'many';

/**
 * One batch with a number: the number at $1 to $4 changes from $5 to $6, and rows are created. A
 * number whose `updated_at` is ahead of the clock is skipped, since the expiry of the created rows
 * counts from the clock.
 */
export function appendToRow(dialect: Dialect, rows: CreatedRows): Statement {
  const created = createdRows(rows, 8);
  const now = writeTime(dialect, `$${created.next + 1}`);
  return statement(
    `append_one_${rows}`,
    `with b as (
  update ${dialect.table.quoted} set version = $7::pg_catalog.int8, number = $6::pg_catalog.int8, feed_transaction = null, feed_sequence = null, updated_at = greatest(${now}, updated_at), expires_at = null, ttl_ms = null
  where ${one(now, `$${created.next}`)} and number ${eq} $5::pg_catalog.int8 and updated_at ${le} ${now} returning updated_at t
), ${insertedRows(dialect, created, '$7')}`,
  );
}

/** One batch without a number: rows are created in the database $1 with the version $2. */
export function createTogether(dialect: Dialect, rows: CreatedRows): Statement {
  const created = createdRows(rows, 3);
  const now = writeTime(dialect, `$${created.next + 1}`);
  return statement(
    `create_together_${rows}`,
    `with b as materialized (
  select ${now} t where ${lockTimeout(`$${created.next}`)} is not null
), ${insertedRows(dialect, created, '$2')}`,
  );
}

interface RowSource {
  readonly source: string;
  readonly count: string;
  /** The first parameter behind the rows. */
  readonly next: number;
}

/**
 * Parameters of their own cost the server a third less than arrays of two elements: a first append
 * of one event takes 440 µs instead of 640.
 */
function createdRows(rows: CreatedRows, first: number): RowSource {
  const types = ['text', 'text', 'text', 'text', 'int8', 'int8', 'bool'] as const;
  const columns = 'p(co, en, ke, val, num, ttl, feed';
  if (rows === 'many')
    return {
      source: `${arrays(...types.map((type, index) => `${first + index} ${type}` as const))} ${columns}, i)`,
      count: `pg_catalog.cardinality($${first}::pg_catalog.text[])`,
      next: first + types.length,
    };
  const values = Array.from({ length: rows }, (_, row) => {
    const parameters = types.map(
      (type, index) => `$${first + row * types.length + index}::pg_catalog.${type}`,
    );
    return `(${parameters.join(', ')})`;
  });
  return {
    source: `(values ${values.join(', ')}) ${columns})`,
    count: String(rows),
    next: first + rows * types.length,
  };
}

/**
 * Without `on conflict do nothing`, which costs an insert a third more: an existing row is a unique
 * violation here. They are counted all the same, because a trigger may leave a row out.
 */
const insertedRows = (dialect: Dialect, { source, count }: RowSource, version: string): string => `n as (
  insert into ${dialect.table.quoted} (${identity}, version, updated_at, expires_at, ttl_ms, value, number, feed_transaction, feed_sequence)
  select $1, co, en, ke, ${version}::pg_catalog.int8, t, t ${plus} ${span('ttl')}, ttl, val::pg_catalog.json, num,
    case when feed then ${feedTransaction(dialect)} end, case when feed then ${nextFeedSequence(dialect)} end from b, ${source} returning feed_sequence fs
)
select ${epochMs('t')}, ${epochMs('t')}, ${verified('written', count, fastPathMark, assertBase(dialect, 'fs'))}, ${feedTransaction(dialect)}, fs
from b, (select pg_catalog.count(*) written, pg_catalog.max(fs) fs from n) w`;
