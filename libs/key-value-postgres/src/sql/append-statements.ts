/**
 * THE SQL OF AN APPEND, and of every batch that creates rows if one number is still what was read:
 * the number changes, and the rows are created. A batch without such a number only creates. These
 * are fast paths: a batch whose number is another, or that lies elsewhere by now, is skipped and
 * gets no line. If a row that should be created exists, the statement fails deliberately and does
 * nothing, and the general statement decides each batch.
 *
 * Locks are taken in the order of `changeRows`: first the numbers, as given, then the created rows.
 */
import { held, lockTimeoutSet, verified } from './general-statement.js';
import { lasting, one } from './fast-path-statements.js';
import { eq, ge, plus } from './operators.js';
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
  const now = writeTime(dialect, '$20');
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
    ] as const),
  );
  return statement(
    'append',
    `with l as materialized (
  select o.*, r.* from ${lockTimeoutSet}, ${heads} o(db, co, en, ke, exp, num, ver, b, i)
  ${held(quoted, 'ctid place', `and number ${eq} exp and ${lasting(now)}`)}
), c as materialized (
  select case when pg_catalog.count(*) ${ge} 0 then ${now} end t from l
), u as (
  update ${quoted} r set version = ver, number = num, updated_at = greatest(t, updated_at), expires_at = null, ttl_ms = null
  from (select l.*, t from l cross join c offset 0) l where r.ctid ${eq} l.place returning b, updated_at bt
), p as materialized (
  select p.*, t, coalesce(u.bt, t) bt from ${rows} p(db, co, en, ke, ver, val, num, ttl, b, guarded, i)
  cross join c left join u on u.b ${eq} p.b where guarded is not true or u.b is not null
), n as (
  insert into ${quoted} (${identity}, version, updated_at, expires_at, ttl_ms, value, number)
  select db, co, en, ke, ver, bt, t ${plus} ${span('ttl')}, ttl, val::pg_catalog.json, num from p order by i on conflict do nothing returning 1
)
select b, ${epochMs('pg_catalog.min(t)')}, ${epochMs('pg_catalog.min(bt)')}, ${verified('(select pg_catalog.count(*) from n)', '(select pg_catalog.count(*) from p)', fastPathMark)} from p group by b`,
  );
}

/**
 * One append: the number at $1 to $4 changes from $5 to $6, and texts are created at the keys $10
 * in the container $8 and the entity $9.
 */
export function appendToRow(dialect: Dialect): Statement {
  const { quoted } = dialect.table;
  const now = writeTime(dialect, '$13');
  return statement(
    'append_one',
    `with u as (
  update ${quoted} set version = $7::pg_catalog.int8, number = $6::pg_catalog.int8, updated_at = greatest(${now}, updated_at), expires_at = null, ttl_ms = null
  where ${one(now, '$12')} and number ${eq} $5::pg_catalog.int8 returning updated_at bt
), n as (
  insert into ${quoted} (${identity}, version, updated_at, value)
  select $1, $8, $9, ke, $7::pg_catalog.int8, bt, val::pg_catalog.json from u, ${arrays('10 text', '11 text')} e(ke, val, i) on conflict do nothing returning 1
)
select ${epochMs('bt')}, ${epochMs('bt')}, ${verified('(select pg_catalog.count(*) from n)', '(select pg_catalog.cardinality($10::pg_catalog.text[]))', fastPathMark)} from u`,
  );
}
