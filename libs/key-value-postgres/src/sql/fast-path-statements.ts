/**
 * What most writes are: a value over one that is there, a sum to a number that is there, or a row
 * where none is. These statements do that and nothing else, at half the price of `putRows` and
 * `changeRows`. They judge nothing: whatever is not as they need it is left alone and not answered,
 * and the others give the verdict. (At another version, no number, out of range, absent or there,
 * or so near its expiry that it could end while it is waited for.)
 *
 * What overwrites creates nothing; it locks in the order given, as the others do, and writes by the
 * place where the locked row lies. A row that a rival renewed since the statement began lies
 * elsewhere than the statement can see: it is not written, and not answered either. What creates
 * locks nothing but what it creates, in the same order: it waits for creators alone, as
 * `changeRows` does when it creates.
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

/** Longer than anybody waits for a row. */
export const living = (now: string): string =>
  `(expires_at is null or expires_at ${gt} (${now} ${plus} interval '1 minute'))`;

/** A sum stays within 64 bits, and within the bounds that lie in its direction. */
const fits = (operand: string, floor: string, ceiling: string): string =>
  between(
    `number::pg_catalog.numeric ${plus} ${operand}`,
    `case when ${operand} ${lt} 0 then coalesce(${floor}, ${bigintMin}) else ${bigintMin} end`,
    `case when ${operand} ${gt} 0 then coalesce(${ceiling}, ${bigintMax}) else ${bigintMax} end`,
  );

/** Where one row is: $1 to $4, its lock timeout in `lock`. */
export const one = (now: string, lock: string): string =>
  `${isRow('$1', '$2', '$3', '$4')} and ${living(now)} and ${lockTimeout(lock)} is not null`;

/**
 * A JSON value over one row, if it is at version $5 (null: at any); it keeps its expiry ($6) or has
 * none from now on.
 */
export function overwriteRow(dialect: Dialect): Statement {
  const now = writeTime(dialect, '$10');
  return statement(
    'overwrite_one',
    `update ${dialect.table.quoted} set version = $7::pg_catalog.int8, value = $8::pg_catalog.json, number = null, bytes = null, updated_at = greatest(${now}, updated_at),
  expires_at = case when $6::pg_catalog.bool then expires_at end, ttl_ms = case when $6::pg_catalog.bool then ttl_ms end
where ${one(now, '$9')} and ($5::pg_catalog.int8 is null or version ${eq} $5::pg_catalog.int8)
returning ${epochMs('updated_at')}, ${epochMs('expires_at')}`,
  );
}

/** JSON values over many rows, each if it is at its version (null: at any). */
export function overwriteRows(dialect: Dialect): Statement {
  const { quoted } = dialect.table;
  const now = writeTime(dialect, '$11');
  return statement(
    'overwrite',
    `with l as materialized (
  select o.*, r.* from ${lockTimeoutSet}, ${arrays('2 text', '3 text', '4 text', '5 text', '6 int8', '7 int8', '8 text', '9 int8', '10 bool')}
    o(db, co, en, ke, exp, ver, val, ttl, keep, i)
  ${held(quoted, 'ctid place', `and (exp is null or version ${eq} exp) and ${living(now)}`)}
)
update ${quoted} r set version = ver, value = val::pg_catalog.json, number = null, bytes = null, updated_at = greatest(t, updated_at),
  expires_at = case when keep then expires_at else t ${plus} ${span('ttl')} end, ttl_ms = case when keep then ttl_ms else ttl end
from (select l.*, ${now} t from l offset 0) l where r.ctid ${eq} l.place
returning i, ${epochMs('updated_at')}, ${epochMs('expires_at')}`,
  );
}

/** $5 is added to one number, between $6 and $7. */
export function addToRow(dialect: Dialect): Statement {
  const now = writeTime(dialect, '$10');
  return statement(
    'add_one',
    `update ${dialect.table.quoted} set version = $8::pg_catalog.int8, number = number ${plus} $5::pg_catalog.int8, updated_at = greatest(${now}, updated_at)
where ${one(now, '$9')} and ${fits('$5::pg_catalog.int8', '$6::pg_catalog.int8', '$7::pg_catalog.int8')}
returning number, ${epochMs('updated_at')}, ${epochMs('expires_at')}`,
  );
}

/** Many numbers, each with what is added to it and its bounds. */
export function addToRows(dialect: Dialect): Statement {
  const { quoted } = dialect.table;
  const now = writeTime(dialect, '$10');
  return statement(
    'add',
    `with l as materialized (
  select o.*, r.* from ${lockTimeoutSet}, ${arrays('2 text', '3 text', '4 text', '5 text', '6 int8', '7 int8', '8 int8', '9 int8')}
    o(db, co, en, ke, num, lo, hi, ver, i)
  ${held(quoted, 'ctid place', `and ${living(now)} and ${fits('num', 'lo', 'hi')}`)}
)
update ${quoted} r set version = ver, number = number ${plus} num, updated_at = greatest(${now}, updated_at)
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

/** A row at $1 to $4 where none is: its version, its time to live, JSON or a number. */
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

/** Many rows where none are. */
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
