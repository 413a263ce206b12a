/**
 * Any number of changes of one number in one statement, each decided on the result of the one
 * before, as if every change were a commit of its own. So many callers of a hot counter share a
 * commit: 16 of them make 3,300 changes a second, and made 65 one by one.
 *
 * `l` locks and reads the row, `c` reads the clock after that, `w` takes the changes one by one,
 * and `u` writes the last number. A row that is absent, expired or no number gets no line, and
 * neither does one that `u` could not write.
 */
import { lockTimeoutSet, bigintMax, bigintMin, actCode } from './general-statement.js';
import { between, eq, gt, isRow, lt, plus, unexpired } from './operators.js';
import { epochMs, statement, writeTime, type Dialect, type Statement } from './statement.js';

export function changeNumber(dialect: Dialect): Statement {
  const table = dialect.table.quoted;
  const now = writeTime(dialect, '$11');
  const row = isRow('$2', '$3', '$4', '$5');
  const next = `[w.i ${plus} 1]`;
  const item = (parameter: string, type: 'int4' | 'int8'): string =>
    `(${parameter}::pg_catalog.${type}[])${next}`;
  const passes = (bound: 'lo' | 'hi', than: string): string =>
    `m ${than} n and coalesce(m ${than} ${bound}, false)`;
  return statement(
    'change_number',
    `with recursive l as materialized (
  select r.* from ${lockTimeoutSet} cross join lateral (select version v0, number n0, expires_at x0, updated_at u0 from ${table}
    where s.v is not null and ${row} for no key update) r
), c as materialized (
  select *, ${now} t from l
), w as (
  select 0 i, n0::pg_catalog.numeric n, false ok from c where n0 is not null and ${unexpired('x0', 't')}
  union all
  select w.i ${plus} 1, case when fits then m else n end, fits
  from w cross join lateral (select ${item('$6', 'int4')} act, ${item('$7', 'int8')} num, ${item('$8', 'int8')} lo, ${item('$9', 'int8')} hi offset 0) o
    cross join lateral (select case when act ${eq} ${actCode.sum} then n ${plus} num when act ${eq} ${actCode.min} then least(n, num) else greatest(n, num) end m offset 0) x
    cross join lateral (select ${between('m', bigintMin, bigintMax)} and not (${passes('lo', lt)}) and not (${passes('hi', gt)}) fits offset 0) y
  where w.i ${lt} pg_catalog.cardinality($7::pg_catalog.int8[])
), k as materialized (
  select pg_catalog.max(i) last from w where ok
), u as (
  update ${table} r set version = ($10::pg_catalog.int8[])[last], number = (select n from w where i ${eq} last)::pg_catalog.int8,
    feed_transaction = null, feed_sequence = null, updated_at = greatest(t, r.updated_at)
  from c cross join k where last is not null and ${row}
  returning 1
)
select i, ok, n, ${epochMs('greatest(t, u0)')}, ${epochMs('x0')} from w cross join c cross join k
where i ${gt} 0 and (last is null or exists (select 1 from u)) order by i`,
  );
}
