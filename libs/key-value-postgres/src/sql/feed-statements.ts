/**
 * The feed in SQL. Rows are in the order of (transaction, sequence), and a read returns rows below
 * the horizon: every transaction with a lower number has ended, so no row can appear there any
 * more. `feed-columns.ts` says how a row gets its numbers, decision 20 what else was tried.
 */
import { limits, type FeedRequest } from '@kvent/key-value-storage/provider';
import { concat, eq, ge, gt, isRow, lt, minus, plus, unexpired } from './operators.js';
import { rowParts } from './read-statements.js';
import {
  arrays,
  asOneLine,
  epochMs,
  identity,
  readTime,
  statement,
  withinBytes,
  type Dialect,
  type Statement,
} from './statement.js';
import { feedNames } from './table-name.js';
import {
  feedFirstEnd,
  feedPosition as position,
  feedTransaction,
  nextFeedSequence,
  regclass,
} from './feed-columns.js';

/** The rows that one page visits: a filter that few rows pass must not take long. */
const visitedMax = 10_000;

const order = 'feed_transaction, feed_sequence';
const asNumber = (xid: string): string => `${xid}::pg_catalog.text::pg_catalog.int8`;

/** The lowest number of a transaction that may still write rows. */
const horizon = ({ feedBase }: Dialect): string =>
  `select ${asNumber('pg_catalog.pg_snapshot_xmin(s)')} ${plus} ${feedBase} hor, pg_catalog.pg_snapshot_xmin(s) oldest
from (select pg_catalog.pg_current_snapshot() s) s`;

/**
 * The last row of the feed, by the index. For `exists (…)` of a row above a number, the planner
 * reads the whole table.
 */
const lastRow = ({ table }: Dialect, columns: string, where = ''): string =>
  `select ${columns} from ${table.quoted} where feed_sequence is not null${where} order by feed_transaction desc, feed_sequence desc limit 1`;

interface FeedPageParts {
  /** Of the name of the statement. */
  readonly shape: string;
  /** Common table expressions, with a comma behind them. */
  readonly before: string;
  readonly rows: string;
  /** The columns about the page of the rows in `page`. */
  readonly head: (page: string) => readonly string[];
}

/** What is said of a page, before its rows. */
export const feedHeadColumns = 6;
/** The columns of a row in the feed, before those that all rows have. */
const placed = ['feed_transaction', 'feed_sequence', 'database', 'container', 'entity', 'key'];

/**
 * A page behind ($1, $2), of at most $3 rows. Its head: the time, the last position below the
 * horizon, the last that was visited if the horizon was not reached, since when rows are held back,
 * the last of them, and the base of the table then: rows of another one are not visible here. The
 * end of the feed is a row, and not the horizon: a restored dump begins
 * above its last row, and may begin below a horizon that a reader has stored. `$4`, `$5`: databases
 * and containers, where they are given.
 */
function partsOfPage(dialect: Dialect, { databases, containers }: FeedRequest): FeedPageParts {
  const table = dialect.table.quoted;
  const filters = [
    ...(databases === undefined ? [] : ['database']),
    ...(containers === undefined ? [] : ['container']),
  ];
  const now = readTime(dialect, `$${4 + filters.length}`);
  const behind = `feed_sequence is not null and (feed_transaction, feed_sequence) ${gt} ($1::pg_catalog.int8, $2::pg_catalog.int8)
    and feed_transaction ${lt} (select hor from h) order by ${order}`;
  const isWanted = filters
    .map(
      (column, index) =>
        `${column} ${eq} any ((select $${4 + index}::pg_catalog.text[])::pg_catalog.text[]) and `,
    )
    .join('');
  const since = `coalesce((select ${epochMs('xact_start')} from pg_catalog.pg_stat_activity where backend_xid ${eq} (select oldest from h)::pg_catalog.xid limit 1), ${epochMs('pg_catalog.clock_timestamp()')})`;
  const end = lastRow(dialect, position, ` and feed_transaction ${lt} (select hor from h)`);
  const isHeld = `(select tra from t) ${ge} (select hor from h)`;
  return {
    shape: filters.join('_'),
    before: `h as materialized (${horizon(dialect)}), t as materialized (${lastRow(dialect, `feed_transaction tra, ${position} pos`)}), `,
    rows: `select ${identity}, ${rowParts} from (select * from ${table} where ${behind} limit ${visitedMax}) v where ${isWanted}${unexpired('expires_at', now)} limit $3::pg_catalog.int4`,
    head: (page) => [
      `(${epochMs(now)})::pg_catalog.text`,
      `case when ${isHeld} then (${end}) else (select pos from t) end`,
      `case when (select pg_catalog.count(*) from ${page}) ${lt} $3::pg_catalog.int4 then (select ${position} from (
    select ${order} from ${table} where ${behind} offset ${visitedMax - 1} limit 1) l) end`,
      `case when ${isHeld} then (${epochMs('pg_catalog.clock_timestamp()')} ${minus} ${since})::pg_catalog.text end`,
      `case when ${isHeld} then (select pos from t) end`,
      `case when ${isHeld} then (select last_value::pg_catalog.text from ${feedNames(dialect.table).base}) end`,
    ],
  };
}

/** Its first line is the head, and the rows follow. */
export function readFeedPage(dialect: Dialect, request: FeedRequest): Statement {
  const { shape, before, rows, head } = partsOfPage(dialect, request);
  const page = withinBytes(placed, rows, order, { bytesMax: limits.feedPageBytesMax });
  const names = Array.from({ length: placed.length + 4 }, (_, index) => `c${index + 1}`);
  const none = names.slice(feedHeadColumns).map(() => 'null');
  return statement(
    `feed_${shape}`,
    `with ${before}p as materialized (select * from (${page}) d(${names.join(', ')}))
select ${[...head('p'), ...none].join(', ')}
union all select ${names.map((name) => `${name}::pg_catalog.text`).join(', ')} from p`,
  );
}

/** The same as one line. */
export function readFeedPageAsLine(dialect: Dialect, request: FeedRequest): Statement {
  const { shape, before, rows, head } = partsOfPage(dialect, request);
  const bytesMax = limits.feedPageBytesMax;
  return statement(
    `feed_line_${shape}`,
    asOneLine({ head: head('a'), first: placed, from: rows, before, bytesMax }),
  );
}

/**
 * The base, and the last number of the sequence where this role may see it. The number is read
 * first: see `feed-base.ts`.
 */
const baseColumns = ({ table }: Dialect): { readonly before: string; readonly from: string } => {
  const { base, sequence } = feedNames(table);
  return {
    before: `with s as materialized (
  select case when pg_catalog.has_sequence_privilege(${regclass(sequence)}, 'usage, select') then pg_catalog.pg_sequence_last_value(${regclass(sequence)}) end last
)`,
    from: `s cross join lateral (select last_value base, is_called pending from ${base} where coalesce(s.last, 0) ${ge} 0 offset 0) b`,
  };
};

export function readFeedBase(dialect: Dialect): Statement {
  const { before, from } = baseColumns(dialect);
  return statement('feed_base', `${before} select base, last from ${from}`);
}

/**
 * The state of the feed: its base, the last number of its sequence, and whether stored events have
 * no positions yet; the largest number of a transaction in the table, and the largest below
 * `feedFirstEnd`; and that of the next transaction.
 */
export function readFeedState(dialect: Dialect): Statement {
  const last = (where?: string): string => lastRow(dialect, 'feed_transaction', where);
  const { before, from } = baseColumns(dialect);
  return statement(
    'feed_state',
    `${before} select base, last, pending, (${last()}), (${last(` and feed_transaction ${lt} ${feedFirstEnd}`)}),
  ${asNumber('pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())')} from ${from}`,
  );
}

/** Until the end of the transaction. */
export const setLockTimeout = (): Statement =>
  statement('lock_timeout', "select v from pg_catalog.set_config('lock_timeout', $1, true) v");

/** Writers of the table end first, and later ones wait for the end of this transaction. */
export const lockWriters = ({ table }: Dialect): Statement =>
  statement('lock_writers', `lock table ${table.quoted} in share row exclusive mode`);

/** Moves the sequence on by $1. */
export const advanceFeedSequence = (dialect: Dialect): Statement => {
  const sequence = regclass(feedNames(dialect.table).sequence);
  return statement(
    'feed_advance',
    `select pg_catalog.setval(${sequence}, ${nextFeedSequence(dialect)} ${plus} $1::pg_catalog.int8)`,
  );
};

/** Raises the base so that later transactions have numbers above $1. */
export const raiseFeedBase = ({ table }: Dialect): Statement => {
  const { base } = feedNames(table);
  return statement(
    'feed_raise',
    `select pg_catalog.setval(${regclass(base)}, greatest(last_value, $1::pg_catalog.int8), is_called) from ${base}`,
  );
};

export const endFeedMigration = ({ table }: Dialect): Statement => {
  const { base } = feedNames(table);
  return statement(
    'feed_migrated',
    `select pg_catalog.setval(${regclass(base)}, last_value, false) from ${base}`,
  );
};

/**
 * Gives positions to at most $5 events of the database $1 behind the address $2 to $4 that have
 * none: the first number is the time of the event, so they stand in the order of their times and,
 * within one, in that of their streams. Returns the last address, and how many there were.
 */
export function placeOldEvents(dialect: Dialect): Statement {
  const table = dialect.table.quoted;
  return statement(
    'feed_place',
    `with p as materialized (
  select container co, entity en, key ke from ${table} where database ${eq} $1 and container ${ge} 'event:' and container ${lt} 'event;'
    and (container, entity, key) ${gt} ($2, $3, $4) and feed_sequence is null order by container, entity, key limit $5::pg_catalog.int4
), o as materialized (
  select p.*, ${nextFeedSequence(dialect)} fs from p order by co, en, ke
), u as (
  update ${table} r set feed_transaction = least(${epochMs('updated_at')}, ${dialect.feedBase}::pg_catalog.int8), feed_sequence = fs from o
  where r.database ${eq} $1 and r.container ${eq} co and r.entity ${eq} en and r.key ${eq} ke and r.feed_sequence is null returning 1
)
select co, en, ke, (select pg_catalog.count(*) from u) from p order by co desc, en desc, ke desc limit 1`,
  );
}

/** In the message of the deliberate failure, which operators see in the log of the server. */
export const laterMark = 'kvent: a transaction that began later has written what this one would follow';

/**
 * Fails deliberately where a row that this transaction has just written, one of those at $1 to $4
 * with the version in $5, stands in the feed before a row that it follows: where the last row of
 * its space by another transaction stands behind this transaction. Sent after the write, with its
 * rows held: then it sees every row that they follow.
 */
export function refuseLaterRows(dialect: Dialect): Statement {
  const { quoted } = dialect.table;
  const written = arrays('1 text', '2 text', '3 text', '4 text', '5 int8');
  return statement(
    'feed_later',
    `select case when pg_catalog.count(*) ${eq} 0 then 0 else ('${laterMark} ' ${concat} pg_catalog.count(*))::pg_catalog.int4 end
from ${written} o(db, co, en, ke, ver, i) cross join lateral (
  select from ${quoted} where ${isRow('o.db', 'o.co', 'o.en', 'o.ke')} and version ${eq} o.ver) w cross join lateral (
  select feed_transaction ft from ${quoted} r
  where r.database ${eq} o.db and r.container ${eq} o.co and r.entity ${eq} o.en and r.feed_transaction is not null
    and not r.feed_transaction ${eq} ${feedTransaction(dialect)} order by r.key desc limit 1) l
where ft ${gt} ${feedTransaction(dialect)}`,
  );
}
