/**
 * Statements for the common writes: a value over an existing one, a sum to an existing number, or a
 * row where none is. They cost half as much as `putRows` and `changeRows`, since they decide
 * nothing: a row that is not as assumed (at another version, no number, out of range, absent or
 * present, or so near its expiry that it could expire during a lock wait) is skipped and gets no
 * line.
 *
 * An overwrite creates nothing. It locks rows in the order given, as every statement does, and
 * writes by the `ctid` of the locked row. If another session has written a row since the statement
 * began, its `ctid` is one that the statement cannot see: it is skipped. A creation locks only the
 * rows that it creates, in the same order, so it waits for other creators only, as `changeRows`
 * does.
 */
import { bigintMax, bigintMin, held, lockTimeout, lockTimeoutSet } from './general-statement.js';
import { between, eq, gt, isRow, lt, plus } from './operators.js';
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

/** Whether a row outlasts the wait for its lock. `lock`: the parameter of the lock timeout. */
export const lasting = (now: string, lock: string): string =>
  `(expires_at is null or expires_at ${gt} (${now} ${plus} interval '1 minute' ${plus} ${span(`${lock}::pg_catalog.text::pg_catalog.int8`)}))`;

/** Whether a sum stays within 64 bits, and within the bound in its direction. */
const fits = (operand: string, floor: string, ceiling: string): string =>
  between(
    `number::pg_catalog.numeric ${plus} ${operand}`,
    `case when ${operand} ${lt} 0 then coalesce(${floor}, ${bigintMin}) else ${bigintMin} end`,
    `case when ${operand} ${gt} 0 then coalesce(${ceiling}, ${bigintMax}) else ${bigintMax} end`,
  );

/** The row at $1 to $4; `lock`: the parameter of its lock timeout. */
export const one = (now: string, lock: string): string =>
  `${isRow('$1', '$2', '$3', '$4')} and ${lasting(now, lock)} and ${lockTimeout(lock)} is not null`;

/** A JSON value over one row at version $5 (null: any), which keeps its expiry ($6) or loses it. */
export function overwriteRow(dialect: Dialect): Statement {
  const now = writeTime(dialect, '$10');
  return statement(
    'overwrite_one',
    `update ${dialect.table.quoted} set version = $7::pg_catalog.int8, value = $8::pg_catalog.json, number = null, bytes = null, feed_transaction = null, feed_sequence = null, updated_at = greatest(${now}, updated_at),
  expires_at = case when $6::pg_catalog.bool then expires_at end, ttl_ms = case when $6::pg_catalog.bool then ttl_ms end
where ${one(now, '$9')} and ($5::pg_catalog.int8 is null or version ${eq} $5::pg_catalog.int8)
returning ${epochMs('updated_at')}, ${epochMs('expires_at')}`,
  );
}

/** JSON values over many rows, each at its expected version (null: any). */
export function overwriteRows(dialect: Dialect): Statement {
  const { quoted } = dialect.table;
  const now = writeTime(dialect, '$11');
  return statement(
    'overwrite',
    `with l as materialized (
  select o.*, r.* from ${lockTimeoutSet}, ${arrays('2 text', '3 text', '4 text', '5 text', '6 int8', '7 int8', '8 text', '9 int8', '10 bool')}
    o(db, co, en, ke, exp, ver, val, ttl, keep, i)
  ${held(quoted, 'ctid place', `and (exp is null or version ${eq} exp) and ${lasting(now, '$1')}`)}
)
update ${quoted} r set version = ver, value = val::pg_catalog.json, number = null, bytes = null, feed_transaction = null, feed_sequence = null, updated_at = greatest(t, updated_at),
  expires_at = case when keep then expires_at else t ${plus} ${span('ttl')} end, ttl_ms = case when keep then ttl_ms else ttl end
from (select l.*, ${now} t from l offset 0) l where r.ctid ${eq} l.place
returning i, ${epochMs('updated_at')}, ${epochMs('expires_at')}`,
  );
}

/** Adds $5 to one number, within $6 and $7. */
export function addToRow(dialect: Dialect): Statement {
  const now = writeTime(dialect, '$10');
  return statement(
    'add_one',
    `update ${dialect.table.quoted} set version = $8::pg_catalog.int8, number = number ${plus} $5::pg_catalog.int8, feed_transaction = null, feed_sequence = null, updated_at = greatest(${now}, updated_at)
where ${one(now, '$9')} and ${fits('$5::pg_catalog.int8', '$6::pg_catalog.int8', '$7::pg_catalog.int8')}
returning number, ${epochMs('updated_at')}, ${epochMs('expires_at')}`,
  );
}

/** Adds to many numbers, each within its bounds. */
export function addToRows(dialect: Dialect): Statement {
  const { quoted } = dialect.table;
  const now = writeTime(dialect, '$10');
  return statement(
    'add',
    `with l as materialized (
  select o.*, r.* from ${lockTimeoutSet}, ${arrays('2 text', '3 text', '4 text', '5 text', '6 int8', '7 int8', '8 int8', '9 int8')}
    o(db, co, en, ke, num, lo, hi, ver, i)
  ${held(quoted, 'ctid place', `and ${lasting(now, '$1')} and ${fits('num', 'lo', 'hi')}`)}
)
update ${quoted} r set version = ver, number = number ${plus} num, feed_transaction = null, feed_sequence = null, updated_at = greatest(${now}, updated_at)
from l where r.ctid ${eq} l.place
returning i, number, ${epochMs('updated_at')}, ${epochMs('expires_at')}`,
  );
}

const insert = (
  table: string,
  source: string,
  returning = '',
): string => `insert into ${table} (${identity}, version, updated_at, expires_at, ttl_ms, value, number)
select ${source} on conflict do nothing
returning ${returning}${epochMs('updated_at')}, ${epochMs('expires_at')}`;

/** Creates a row at $1 to $4: its version, its time to live, JSON or a number. */
export function createRow(dialect: Dialect): Statement {
  const now = writeTime(dialect, '$10');
  const row = `$1, $2, $3, $4, $5::pg_catalog.int8, t, t ${plus} ${span('$6::pg_catalog.int8')}, $6::pg_catalog.int8, $7::pg_catalog.json, $8::pg_catalog.int8`;
  return statement(
    'create_one',
    insert(
      dialect.table.quoted,
      `${row} from (select ${now} t offset 0) c where ${lockTimeout('$9')} is not null`,
    ),
  );
}

/** Creates many rows. */
export function createRows(dialect: Dialect): Statement {
  const now = writeTime(dialect, '$10');
  const rows = `${arrays('2 text', '3 text', '4 text', '5 text', '6 int8', '7 int8', '8 text', '9 int8')} o(db, co, en, ke, ver, ttl, val, num, i)`;
  return statement(
    'create',
    insert(
      dialect.table.quoted,
      `db, co, en, ke, ver, t, t ${plus} ${span('ttl')}, ttl, val::pg_catalog.json, num
from ${lockTimeoutSet}, (select ${now} t offset 0) c, ${rows} where s.v is not null order by i`,
      'version, ',
    ),
  );
}
