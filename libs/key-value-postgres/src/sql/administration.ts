/** What operators need, and the sweep. */
import { identity, readTime, rowColumns, epochMs, statement, timeOf, type Dialect, type Statement } from './statement.js';
import { overwrite } from './change-rows.js';

/** Deletes at most $1 expired rows, the oldest first, and answers how many were rows and how many ghosts. Rows in use are left for the next time. */
export function sweepRows(dialect: Dialect): Statement {
  const now = readTime(dialect, '$2');
  return statement(
    'sweep',
    `with s as materialized (
  select ctid id from ${dialect.table.quoted} where expires_at <= ${now} order by expires_at limit $1::int for update skip locked
), d as (
  delete from ${dialect.table.quoted} where ctid = any(array(select id from s)) returning number is null and value is null and bytes is null ghost
) select count(*) filter (where not ghost), count(*) from d`,
  );
}

/** Databases that hold a living row, hopping from one to the next. */
export function listDatabases(dialect: Dialect): Statement {
  const now = readTime(dialect, '$1');
  const table = dialect.table.quoted;
  return statement(
    'databases',
    `with recursive d as (
  (select database from ${table} order by database limit 1)
  union all
  select (select r.database from ${table} r where r.database > d.database order by r.database limit 1) from d where d.database is not null
)
select database from d where database is not null and exists (select from ${table} r where r.database = d.database and (expires_at is null or expires_at > ${now}))
order by database`,
  );
}

/** Spaces of the database $1 that hold a living row, in order. */
export function listSpaces(dialect: Dialect): Statement {
  const now = readTime(dialect, '$2');
  const table = dialect.table.quoted;
  return statement(
    'spaces',
    `with recursive s as (
  (select container, entity from ${table} where database = $1 order by container, entity limit 1)
  union all
  select n.container, n.entity from s cross join lateral (
    select r.container, r.entity from ${table} r where r.database = $1 and (r.container, r.entity) > (s.container, s.entity)
    order by r.container, r.entity limit 1) n
)
select container, entity from s where exists (
  select from ${table} r where r.database = $1 and r.container = s.container and r.entity = s.entity and (expires_at is null or expires_at > ${now}))
order by container, entity`,
  );
}

export const countRows = ({ table }: Dialect): Statement => statement('count', `select count(*) from ${table.quoted} where database = $1`);

/** The next $5 living rows of the database $1 behind the address $2 to $4. */
export function exportRows(dialect: Dialect): Statement {
  const now = readTime(dialect, '$6');
  return statement(
    'export',
    `select container, entity, key, ${rowColumns('include')} from ${dialect.table.quoted}
where database = $1 and (container, entity, key) > ($2, $3, $4) and (expires_at is null or expires_at > ${now})
order by container, entity, key limit $5::int`,
  );
}

/** Puts rows as they are, overwriting what is there. No row may be twice among them. */
export function importRows({ table }: Dialect): Statement {
  return statement(
    'import',
    `insert into ${table.quoted} (${identity}, version, updated_at, expires_at, ttl_ms, number, value, bytes)
select $1, co, en, ke, ver, ${timeOf('upd')}, ${timeOf('exp')}, ttl, num, val::json, decode(byt, 'base64')
from unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::text[])
  o(co, en, ke, ver, upd, exp, ttl, num, val, byt) ${overwrite}`,
  );
}

/** Deletes the database $1; answers whether a row of it was alive. */
export function dropDatabase(dialect: Dialect): Statement {
  const now = readTime(dialect, '$2');
  return statement(
    'drop',
    `with d as (delete from ${dialect.table.quoted} where database = $1 returning expires_at is null or expires_at > ${now} alive) select coalesce(bool_or(alive), false) from d`,
  );
}

/** About how many rows the table has, from the size of its file: nothing is counted. */
export function tableSize({ table }: Dialect): Statement {
  // a hundred bytes a row: rather too many rows than too few
  return statement('size', `select pg_relation_size('${table.quoted.replaceAll("'", "''")}'::regclass) / 100`);
}

/** The latest time stored. */
export const lastTime = ({ table }: Dialect): Statement =>
  statement('last_time', `select ${epochMs('max(updated_at)')} from ${table.quoted}`);
