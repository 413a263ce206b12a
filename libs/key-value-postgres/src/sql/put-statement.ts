/**
 * Batches that each put one JSON value, checked by absence, presence or version or not at all. The
 * steps are those of `changeRows` without those of other shapes: conflicts take half the time.
 */
import { countOf, heldIfAny, live, lockTimeoutSet, overwrite, verified } from './general-statement.js';
import { eq, ge, plus } from './operators.js';
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

export function putRows(dialect: Dialect): Statement {
  const table = dialect.table.quoted;
  const now = writeTime(dialect, '$12');
  const puts = arrays(
    '2 text',
    '3 text',
    '4 text',
    '5 text',
    '6 int4',
    '7 int8',
    '8 int8',
    '9 text',
    '10 int8',
    '11 bool',
  );
  const columns = `${identity}, version, updated_at, expires_at, ttl_ms, value`;
  const expires = `case when live and keep then x0 else t ${plus} ${span('ttl')} end`;
  const row = `db, co, en, ke, ver, bt, ${expires}, case when live and keep then k0 else ttl end, val::pg_catalog.json`;
  return statement(
    'put',
    `with l as materialized (
  select o.*, r.* from ${lockTimeoutSet}, ${puts}
    o(db, co, en, ke, chk, exp, ver, val, ttl, keep, i)
  ${heldIfAny(table, 'version v0, expires_at x0, updated_at u0, ttl_ms k0')}
), c as materialized (
  select case when pg_catalog.count(*) ${ge} 0 then ${now} end t from l
), j as materialized (
  select l.*, t, live, case when chk ${eq} 0 then not live when chk ${eq} 1 then live when chk ${eq} 2 then live and v0 ${eq} exp else true end ok, greatest(t, u0) bt
  from l cross join c cross join lateral (select ${live} live) z
), n as (
  insert into ${table} (${columns}) select ${row} from j where ok and v0 is null order by i on conflict do nothing returning 1
), u as (
  insert into ${table} (${columns}) select ${row} from j where ok and v0 is not null order by i ${overwrite} returning 1
)
select i, ok, live, v0, ${epochMs(expires)}, ${epochMs('bt')},
  ${verified(`${countOf('n')} ${plus} ${countOf('u')}`, '(select pg_catalog.count(*) from j where ok)')}
from j`,
  );
}
