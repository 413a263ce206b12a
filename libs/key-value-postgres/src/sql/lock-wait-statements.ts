/**
 * Rows that somebody's open transaction holds. Whoever waits long for one of several rows must not
 * hold the others meanwhile: the batch is taken back, the held row is found and waited for alone,
 * and only then the batch is sent again.
 */
import { lockTimeout } from './general-statement.js';
import { isRow } from './operators.js';
import { arrays, statement, type Dialect, type Statement } from './statement.js';

/**
 * Of the rows at the addresses in the arrays $1 to $4 those that are held, and those that are
 * absent, which somebody may be creating: their places among them, and whether they are absent.
 * Waits for nobody.
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
 * Waits until nobody holds the row at $1 to $4, for $5 milliseconds at most, and holds nothing
 * afterwards.
 */
export function waitForRow({ table }: Dialect): Statement {
  return statement(
    'wait_for_row',
    `select true from ${table.quoted} where ${isRow('$1', '$2', '$3', '$4')} and ${lockTimeout('$5')} is not null for no key update`,
  );
}
