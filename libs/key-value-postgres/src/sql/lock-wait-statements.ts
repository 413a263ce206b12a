/**
 * Finds the rows that open transactions hold, and waits for one of them (`commit/lock-wait.ts`).
 */
import { lockTimeout } from './general-statement.js';
import { isRow } from './operators.js';
import { arrays, statement, type Dialect, type Statement } from './statement.js';

/**
 * Of the rows at the addresses in the arrays $1 to $4, those that are held, and those that are
 * absent, which another session may be creating: their numbers, and whether they are absent. Does
 * not wait.
 */
export function findHeldRows({ table }: Dialect): Statement {
  const row = `from ${table.quoted} where ${isRow('o.db', 'o.co', 'o.en', 'o.ke')}`;
  return statement(
    'find_held',
    `select o.i, e.present is null from ${arrays('1 text', '2 text', '3 text', '4 text')} o(db, co, en, ke, i)
left join lateral (select true present ${row} offset 0) e on true
left join lateral (select true free ${row} for no key update skip locked) f on true
where f.free is null order by o.i`,
  );
}

/**
 * Waits until the row at $1 to $4 is free, for at most $5 milliseconds, and holds nothing
 * afterwards.
 */
export function waitForRow({ table }: Dialect): Statement {
  return statement(
    'wait_for_row',
    `select true from ${table.quoted} where ${isRow('$1', '$2', '$3', '$4')} and ${lockTimeout('$5')} is not null for no key update`,
  );
}
