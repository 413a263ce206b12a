/**
 * Renewals that do not wait: a held row is skipped, so a read that renews its row never waits for a
 * writer. A row without a line was held, is at another version, or has no expiry, and stays as it
 * is.
 */
import { eq, gt, isRow, plus } from './operators.js';
import { arrays, epochMs, span, statement, writeTime, type Dialect, type Statement } from './statement.js';

/**
 * Rows at the addresses in the arrays $1 to $4, each at the version in $5, whose expiry moves
 * forward to the milliseconds in $6 from now.
 */
export function renewRows(dialect: Dialect): Statement {
  const { quoted } = dialect.table;
  const now = writeTime(dialect, '$7');
  return statement(
    'renew',
    `with l as materialized (
  select o.*, r.* from ${arrays('1 text', '2 text', '3 text', '4 text', '5 int8', '6 int8')} o(db, co, en, ke, ver, ttl, i)
  cross join lateral (select ctid place from ${quoted}
    where ${isRow('o.db', 'o.co', 'o.en', 'o.ke')} and version ${eq} ver and expires_at is not null for no key update skip locked) r
)
update ${quoted} r set expires_at = greatest(expires_at, t ${plus} ${span('l.ttl')})
from (select l.*, ${now} t from l offset 0) l where r.ctid ${eq} l.place and expires_at ${gt} t
returning i, ${epochMs('expires_at')}, ${epochMs('greatest(t, updated_at)')}`,
  );
}
