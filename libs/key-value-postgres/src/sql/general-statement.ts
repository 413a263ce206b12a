/**
 * THE GENERAL STATEMENT: decides and applies any number of independent batches of any shape in one
 * round trip. It is `evaluateBatch` of the core in SQL.
 *
 * Its steps, each of which sees the whole result of the one before:
 *
 * - `l` locks the existing rows in the order given (every process sorts them alike), and reads
 *   them;
 * - `c` reads the clock, once every row is locked;
 * - `a` decides each operation, `j` each batch: all or nothing, with one time that is never before
 *   that of a row it replaces;
 * - `n` creates rows, `u` overwrites, `m` renews and `d` deletes, in this order: a creator has its
 *   other locks already and waits for other creators only, in the order of rows, so sessions cannot
 *   wait for each other in a circle;
 * - a row that another session has created since the statement began is neither seen by `l` nor
 *   written by `n`. Then fewer rows are written than intended, and the cast at the end fails
 *   deliberately: everything is undone, and the statement runs again.
 *
 * A batch that depends on the absence of a row that it does not create leaves a *ghost*: a row that
 * never was live. Two batches that check each other's absence conflict there. The sweep removes it.
 */
import { assertBase, feedTransaction, nextFeedSequence } from './feed-columns.js';
import { between, concat, eq, ge, gt, isRow, lt, plus, unexpired } from './operators.js';
import {
  arrays,
  identity,
  epochMs,
  span,
  statement,
  writeTime,
  type Dialect,
  type Statement,
} from './statement.js';

/** What `chk` means: null is no check. */
export const checkCode = { absent: 0, present: 1, version: 2, number: 3 } as const;

/** What `act` means. `repeated`: a further check of a row that comes before it already. */
export const actCode = {
  repeated: -1,
  check: 0,
  put: 1,
  delete: 2,
  sum: 3,
  min: 4,
  max: 5,
  renew: 6,
} as const;

/** In the message of the deliberate failure, which operators see in the log of the server. */
export const raceMark = 'kvent: another session has created a row, the statement runs again';

/**
 * A longer lock wait fails the whole statement (55P03). It is set before the first lock, for this
 * statement only; null keeps the setting of the caller's transaction.
 */
export const lockTimeout = (parameter: string): string =>
  `case when ${parameter}::pg_catalog.text is null then '' else pg_catalog.set_config('lock_timeout', ${parameter}::pg_catalog.text, true) end`;
export const lockTimeoutSet = `(select ${lockTimeout('$1')} v offset 0) s`;

export const bigintMin = '-9223372036854775808';
export const bigintMax = '9223372036854775807';

/** The columns that a put replaces. */
export const overwrite = `on conflict (${identity}) do update set version = excluded.version, updated_at = excluded.updated_at,
  expires_at = excluded.expires_at, ttl_ms = excluded.ttl_ms, number = excluded.number, value = excluded.value, bytes = excluded.bytes,
  feed_transaction = excluded.feed_transaction, feed_sequence = excluded.feed_sequence`;

const rowOf = (table: string, columns: string): string => `(select ${columns} from ${table}
    where s.v is not null and ${isRow('o.db', 'o.co', 'o.en', 'o.ke')}`;

/** Locks the row of an operation, if there is one. */
export const heldIfAny = (table: string, columns: string): string =>
  `left join lateral ${rowOf(table, columns)} for no key update) r on true`;

/**
 * Locks the row of an operation, if it meets the condition; otherwise the operation is left out.
 */
export const held = (table: string, columns: string, condition: string): string =>
  `cross join lateral ${rowOf(table, columns)} ${condition} for no key update) r`;

export const live = `v0 is not null and ${unexpired('x0', 't')}`;

const sameRow = `(r.database, r.container, r.entity, r.key) ${eq} (db, co, en, ke)`;

/**
 * `further`, or 0, if as many rows were written as intended; else the deliberate failure. Its text
 * has the count of written rows, because the planner would evaluate a constant one.
 */
export const verified = (written: string, meant: string, mark = raceMark, further = '0'): string =>
  `case when ${written} ${eq} (${meant}) then ${further} else ('${mark} ' ${concat} (${written}))::pg_catalog.int4 end`;

/** How many rows one part of a statement has written. */
export const countOf = (part: string): string => `(select pg_catalog.count(*) from ${part})`;

const is = (column: string, code: number): string => `${column} ${eq} ${code}`;

/** Whether the check of an operation is met. */
const met = `case when ${is('chk', 0)} then not live when ${is('chk', 1)} then live when ${is('chk', 2)} then live and v0 ${eq} exp
      when ${is('chk', 3)} then live and coalesce(n0 ${eq} exp, false) else true end`;

export function changeRows(dialect: Dialect, feed: 'feed' | 'no feed'): Statement {
  const table = dialect.table.quoted;
  const inFeed = feed === 'feed';
  const now = writeTime(dialect, inFeed ? '$20' : '$19');
  /** A column of the row whose expiry is kept: most often the row itself. */
  const kept = (own: string, column = own): string =>
    `case when src is null then ${own} else (select ${column} from l o where o.i ${eq} l.src) end`;
  // of rows in the feed alone: other batches need no sequence
  const placed = {
    columns: inFeed ? ', feed_transaction, feed_sequence' : '',
    values: inFeed ? `, case when fs is not null then ${feedTransaction(dialect)} end, fs` : '',
    join: inFeed ? ` left join f on fi ${eq} i` : '',
    result: inFeed ? `${feedTransaction(dialect)} ${concat} '.' ${concat} fs` : 'null',
  };
  const operations = arrays(
    ...(['2 text', '3 text', '4 text', '5 text', '6 int4', '7 int4', '8 int8', '9 int4', '10 int8'] as const),
    ...(['11 text', '12 text', '13 int8', '14 int8', '15 int8', '16 int8', '17 bool'] as const),
    '18 int4',
    ...(inFeed ? (['19 bool'] as const) : []),
  );
  return statement(
    inFeed ? 'change_feed' : 'change',
    `with l as materialized (
  select o.*, r.* from ${lockTimeoutSet}, ${operations}
    o(db, co, en, ke, b, chk, exp, act, ver, val, byt, num, lo, hi, ttl, keep, src, ${inFeed ? 'feed, ' : ''}i)
  ${heldIfAny(table, 'version v0, number n0, expires_at x0, updated_at u0, ttl_ms k0')}
), c as materialized (
  select case when pg_catalog.count(*) ${ge} 0 then ${now} end t from l
), a as materialized (
  select l.*, t, live, puts, ghost, keeps, ${met} met,
    case when ${is('act', 1)} then num when ${is('act', 3)} then total when ${is('act', 4)} then least(old, num)
      when ${is('act', 5)} then greatest(old, num) when ${is('act', 6)} then n0 end new,
    case when not counts then 0 when live and n0 is null then 1
      when ${is('act', 3)} and (not ${between('total', bigintMin, bigintMax)} or num ${lt} 0 and total ${lt} lo or num ${gt} 0 and total ${gt} hi) then 2
      when ${is('act', 4)} and num ${lt} old and num ${lt} lo or ${is('act', 5)} and num ${gt} old and num ${gt} hi then 2 else 0 end misfit,
    case when keeps then ${kept('k0', 'o.k0')} when puts then ttl end lasts,
    case when keeps then ${kept('x0', 'o.x0')} when puts then until when ${is('act', 6)} and x0 is not null then greatest(x0, until) end xa
  from l cross join c cross join lateral (select ${live} live, t ${plus} ${span('ttl')} until, ${between('act', '3', '5')} counts) z
    cross join lateral (select case when live then n0 else 0 end::pg_catalog.numeric old, counts or ${is('act', 1)} puts,
      (${is('act', 0)} or ${is('act', 2)}) and ${is('chk', 0)} and v0 is null ghost,
      keep and ${kept('live', `o.v0 is not null and ${unexpired('o.x0', 't')}`)} or live and counts keeps) y
    cross join lateral (select old ${plus} num total) x
), j as materialized (
  select *, pg_catalog.bool_and(met and ${is('misfit', 0)}) over (partition by b) ok,
    greatest(t, pg_catalog.max(case when act ${gt} 0 then u0 end) over (partition by b)) bt from a
)${
      inFeed
        ? `, f as materialized (
  select i fi, ${nextFeedSequence(dialect)} fs from j where ok and puts and feed order by i
)`
        : ''
    }, n as (
  insert into ${table} (${identity}, version, updated_at, expires_at, ttl_ms, number, value, bytes${placed.columns})
  select db, co, en, ke, ver, bt, case when ghost then '-infinity' else xa end, lasts, new::pg_catalog.int8, val::pg_catalog.json, pg_catalog.decode(byt, 'base64')${placed.values}
  from j${placed.join} where ok and v0 is null and (puts or ghost) order by i on conflict do nothing returning 1
), u as (
  insert into ${table} (${identity}, version, updated_at, expires_at, ttl_ms, number, value, bytes${placed.columns})
  select db, co, en, ke, ver, bt, xa, lasts, new::pg_catalog.int8, val::pg_catalog.json, pg_catalog.decode(byt, 'base64')${placed.values}
  from j${placed.join} where ok and v0 is not null and puts order by i ${overwrite} returning 1
), m as (
  update ${table} r set expires_at = xa from j
  where ok and ${is('act', 6)} and live and xa ${gt} x0 and ${sameRow} returning 1
), d as (
  delete from ${table} r using j
  where ok and ${is('act', 2)} and v0 is not null and (select pg_catalog.count(*) from n) ${ge} 0 and ${sameRow} returning 1
)
select i, met, misfit, live, v0, new, ${epochMs('xa')}, ${placed.result}, ${epochMs('bt')}, ${verified(
      ['n', 'u', 'm', 'd'].map(countOf).join(` ${plus} `),
      `(select pg_catalog.count(*) from j where ok and (puts or ghost or ${is('act', 2)} and v0 is not null or ${is('act', 6)} and live and xa ${gt} x0))`,
      raceMark,
      inFeed ? assertBase(dialect, 'fs') : '0',
    )}
from j${placed.join}`,
  );
}
