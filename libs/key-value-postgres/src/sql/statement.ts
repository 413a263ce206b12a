/** What the statements have in common: how time, addresses and columns are written. */
import { createHash } from 'node:crypto';
import type { TableName } from '../schema/table-name.js';

/** One text, prepared once for each connection under its name. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

/** What the texts depend on. `clock`: the database's own, or the one that the provider was given (its time is then the last parameter). */
export interface Dialect {
  readonly table: TableName;
  readonly clock: 'server' | 'given';
}

/** The name tells other tables, and other releases, apart: a connection of the application's pool may serve several providers. */
export function statement(name: string, text: string): Statement {
  const digest = createHash('sha256').update(text).digest('hex').slice(0, 12);
  return { name: `kvent_${name}_${digest}`, text };
}

/** The columns that make a row's identity, in the order of the primary key. */
export const identity = 'database, container, entity, key';

/**
 * Parameters that are arrays, side by side and numbered: each given as its number and the type of its elements. Each stands in a query of its
 * own, so that the planner does not count them: for one or two elements it would think a plan for just these cheaper than any other, and plan
 * at every run, which takes longer than the run.
 */
export const arrays = (...parameters: readonly `${number} ${string}`[]): string => {
  const each = parameters.map((parameter) => {
    const [number, type] = parameter.split(' ');
    return `(select $${number}::${type}[])`;
  });
  return `unnest(${each.join(', ')}) with ordinality`;
};

/**
 * Milliseconds since 1970, whole: by way of a double, which is exact to the millisecond for any date and cheaper than `extract`; its own text
 * would have as few digits as the application's `extra_float_digits` leaves it.
 */
export const epochMs = (time: string): string => `(date_part('epoch', ${time}) * 1000)::bigint`;
export const milliseconds = (text: string): number => Number(text);

/** A count of milliseconds as a span, exact: every product is a whole number of microseconds. */
export const span = (ms: string): string => `${ms} * interval '1 millisecond'`;

/** A parameter of milliseconds since 1970 as a time. */
export const timeOf = (parameter: string): string => `(timestamptz 'epoch' + ${span(`${parameter}::bigint`)})`;

/** The time at which a statement that only reads began. `parameter`: where a given clock's time stands. */
export const readTime = ({ clock }: Dialect, parameter: string): string =>
  clock === 'given' ? timeOf(parameter) : 'statement_timestamp()';

/** The time of the moment, in the whole milliseconds that are stored and compared. */
export const writeTime = ({ clock }: Dialect, parameter: string): string =>
  clock === 'given' ? timeOf(parameter) : "date_trunc('milliseconds', clock_timestamp())";

/**
 * A row as columns, for `decodeRow`. What is rare stands together in the last one, so that a plain row costs little: `-` or its expiry, its
 * TTL, then a value that is no JSON.
 */
export const rowColumns = (values: 'include' | 'omit'): string => {
  const meta = `version, ${epochMs('updated_at')}`;
  const rare = `concat_ws(' ', coalesce(${epochMs('expires_at')}::text, '-'), coalesce(ttl_ms::text, '-'), number::text, 'b' || encode(bytes, 'base64'))`;
  if (values === 'omit') {
    return `${meta}, null::text, case when expires_at is not null then concat_ws(' ', ${epochMs('expires_at')}, coalesce(ttl_ms::text, '-')) end`;
  }
  return `${meta}, value::text, case when value is null or expires_at is not null then ${rare} end`;
};
