/**
 * The operators of the statements. Postgres looks for an unqualified name in the whole
 * `search_path`, and takes the best match for the argument types: a role that may create objects in
 * a schema of that path could replace a function, an operator or a type of Postgres with its own,
 * which would run with the rights of the provider. The path belongs to the application's
 * connections and cannot be set here, so every name in the statements is qualified.
 *
 * - Functions and types are written `pg_catalog.name`; keywords of SQL (`coalesce`, `greatest`,
 *   `interval`) need no schema.
 * - Operators are these. They all have the same precedence, above `and`, `or`, `is` and below `::`,
 *   and associate from left to right, so parentheses group them.
 * - Shorthands that look an operator up by its bare name are not used: `between`, `in`, `is
 *   distinct from`, `nullif`, `like`, `case x when`, `using (…)`.
 */
export const eq = 'operator(pg_catalog.=)';
export const lt = 'operator(pg_catalog.<)';
export const le = 'operator(pg_catalog.<=)';
export const gt = 'operator(pg_catalog.>)';
export const ge = 'operator(pg_catalog.>=)';
export const plus = 'operator(pg_catalog.+)';
export const minus = 'operator(pg_catalog.-)';
export const times = 'operator(pg_catalog.*)';
export const dividedBy = 'operator(pg_catalog./)';
export const concat = 'operator(pg_catalog.||)';

/** Within both bounds. */
export const between = (value: string, from: string, to: string): string =>
  `((${value}) ${ge} ${from} and (${value}) ${le} ${to})`;

/** Whether a row has not expired at this time. */
export const unexpired = (expires: string, now: string): string =>
  `(${expires} is null or ${expires} ${gt} ${now})`;

/** Whether the columns that make a row's identity are these. */
export const isRow = (database: string, container: string, entity: string, key: string): string =>
  `database ${eq} ${database} and container ${eq} ${container} and entity ${eq} ${entity} and key ${eq} ${key}`;
