/** The statements of the administration, and the sweep. */
import {
  arrays,
  identity,
  readTime,
  epochMs,
  statement,
  timeOf,
  withinBytes,
  type Dialect,
  type Statement,
} from './statement.js';
import { feedPosition, feedTransaction, nextFeedSequence, textOf } from './feed-columns.js';
import { overwrite } from './general-statement.js';
import { concat, dividedBy, eq, gt, isRow, le, unexpired } from './operators.js';

/** Before every expired row: its time of expiry as seconds, and its place. */
export const sweepStart: readonly [expires: string, place: string] = ['-Infinity', '(0,0)'];

/**
 * Deletes at most $1 expired rows behind ($2, $3), the oldest first. Returns how many were no
 * ghosts, how many were deleted, how many it has found, since a trigger may keep some, and where
 * the last of them is. Locked rows are left for the next sweep.
 */
export function sweepRows(dialect: Dialect): Statement {
  const now = readTime(dialect, '$4');
  const { quoted } = dialect.table;
  return statement(
    'sweep',
    `with s as materialized (
  select ctid id, expires_at from ${quoted} where expires_at ${le} ${now} and (expires_at, ctid) ${gt} (pg_catalog.to_timestamp($2::pg_catalog.float8), $3::pg_catalog.tid)
  order by expires_at, ctid limit $1::pg_catalog.int4 for update skip locked
), d as (
  delete from ${quoted} where ctid ${eq} any (array(select id from s)) returning number is null and value is null and bytes is null ghost
), l as materialized (
  select expires_at, id from s order by expires_at desc, id desc limit 1
) select pg_catalog.count(*) filter (where not ghost), pg_catalog.count(*), (select pg_catalog.count(*) from s),
  (select pg_catalog.date_part('epoch', expires_at) from l), (select id from l) from d`,
  );
}

/** Databases with a live row: an index look-up finds the next database each time. */
export function listDatabases(dialect: Dialect): Statement {
  const now = readTime(dialect, '$1');
  const table = dialect.table.quoted;
  return statement(
    'databases',
    `with recursive d as (
  (select database from ${table} order by database limit 1)
  union all
  select (select r.database from ${table} r where r.database ${gt} d.database order by r.database limit 1) from d where d.database is not null
)
select database from d where database is not null and exists (select from ${table} r where r.database ${eq} d.database and ${unexpired('expires_at', now)})
order by database`,
  );
}

/** Spaces of the database $1 with a live row, in order. */
export function listSpaces(dialect: Dialect): Statement {
  const now = readTime(dialect, '$2');
  const table = dialect.table.quoted;
  return statement(
    'spaces',
    `with recursive s as (
  (select container, entity from ${table} where database ${eq} $1 order by container, entity limit 1)
  union all
  select n.container, n.entity from s cross join lateral (
    select r.container, r.entity from ${table} r where r.database ${eq} $1 and (r.container, r.entity) ${gt} (s.container, s.entity)
    order by r.container, r.entity limit 1) n
)
select container, entity from s where exists (
  select from ${table} r where r.database ${eq} $1 and r.container ${eq} s.container and r.entity ${eq} s.entity and ${unexpired('expires_at', now)})
order by container, entity`,
  );
}

export const countRows = ({ table }: Dialect): Statement =>
  statement('count', `select pg_catalog.count(*) from ${table.quoted} where database ${eq} $1`);

/**
 * The next $5 live rows of the database $1 after the address $2 to $4, or fewer: their values
 * exceed `pageBytesMax` by one row at most.
 */
export function exportRows(dialect: Dialect): Statement {
  const now = readTime(dialect, '$6');
  const rows = `select * from ${dialect.table.quoted}
where database ${eq} $1 and (container, entity, key) ${gt} ($2, $3, $4) and ${unexpired('expires_at', now)}
order by container, entity, key limit $5::pg_catalog.int4`;
  return statement(
    'export',
    withinBytes(['container', 'entity', 'key'], rows, 'container, entity, key', { position: 'include' }),
  );
}

/**
 * Puts rows as they are, over existing ones. No row may be there twice. A row with `mov` gets a new
 * position, in the order of the rows: that of this transaction over the base $15.
 */
export function importRows(dialect: Dialect): Statement {
  const { table } = dialect;
  const rows = arrays(
    ...([
      '2 text',
      '3 text',
      '4 text',
      '5 int8',
      '6 int8',
      '7 int8',
      '8 int8',
      '9 int8',
      '10 text',
      '11 text',
      '12 int8',
      '13 int8',
      '14 bool',
    ] as const),
  );
  return statement(
    'import',
    `insert into ${table.quoted} (${identity}, version, updated_at, expires_at, ttl_ms, number, value, bytes, feed_transaction, feed_sequence)
select $1, co, en, ke, ver, ${timeOf('upd')}, ${timeOf('exp')}, ttl, num, val::pg_catalog.json, pg_catalog.decode(byt, 'base64'),
  case when mov then ${feedTransaction({ feedBase: '$15::pg_catalog.int8' })} else ft end, case when mov then ${nextFeedSequence(dialect)} else fs end
from ${rows} o(co, en, ke, ver, upd, exp, ttl, num, val, byt, ft, fs, mov, i) ${overwrite}`,
  );
}

/** Until the end of the transaction, no other one gives imported rows their positions. */
export const lockImports = ({ table }: Dialect): Statement =>
  statement(
    'import_lock',
    `select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('kvent:import:' ${concat} ${textOf(table.quoted)}, 0))`,
  );

/**
 * Of the rows of the database $1 with the addresses $2 to $4 and the positions $5 and $6, those
 * that are stored in the feed, or whose position another row has: the index from 1, the stored
 * version and position, and whether the position is taken.
 */
export function findPositions(dialect: Dialect): Statement {
  const table = dialect.table.quoted;
  const rows = arrays('2 text', '3 text', '4 text', '5 int8', '6 int8');
  const address = `(r.database, r.container, r.entity, r.key) ${eq} ($1, co, en, ke)`;
  return statement(
    'import_positions',
    `select i, ve, po, taken is not null from ${rows} o(co, en, ke, ft, fs, i)
left join lateral (select version ve, ${feedPosition} po from ${table}
  where ${isRow('$1', 'co', 'en', 'ke')} and feed_sequence is not null limit 1) s on true
left join lateral (select 1 taken from ${table} r where r.feed_sequence is not null and r.feed_transaction ${eq} ft
  and r.feed_sequence ${eq} fs and not ${address} limit 1) t on true
where ve is not null or taken is not null`,
  );
}

/**
 * Deletes the first $2 rows of the database $1; returns whether one of them was live, how many
 * there were, and how many it has deleted: a trigger may leave some out. They are locked first, so
 * that those that another session deletes do not count.
 */
export function dropPage(dialect: Dialect): Statement {
  const table = dialect.table.quoted;
  const now = readTime(dialect, '$3');
  return statement(
    'drop',
    `with p as materialized (
  select container, entity, key from ${table} where database ${eq} $1 order by container, entity, key limit $2::pg_catalog.int4 for update
), d as (
  delete from ${table} where database ${eq} $1 and (container, entity, key) ${le}
    (select container, entity, key from p order by container desc, entity desc, key desc limit 1)
  returning ${unexpired('expires_at', now)} live
) select coalesce(pg_catalog.bool_or(live), false), (select pg_catalog.count(*) from p), pg_catalog.count(*) from d`,
  );
}

/**
 * About how many rows the table with the quoted name $1 has, from the size of its file, without
 * counting.
 */
export function tableSize(): Statement {
  // a hundred bytes for each row: an overestimate is harmless
  return statement('size', `select pg_catalog.pg_relation_size($1::pg_catalog.regclass) ${dividedBy} 100`);
}

/** The latest time that is stored. */
export const lastTime = ({ table }: Dialect): Statement =>
  statement('last_time', `select ${epochMs('pg_catalog.max(updated_at)')} from ${table.quoted}`);
