/**
 * Row-level security: what a statement may touch, in settings that the policies of the table
 * compare (`schema/migrations.ts`). They are set in the round trip of the statement and for its
 * transaction only, so the next user of a pooled connection has none. They come from the call (the
 * database of a batch, a range, an address), not from the parameters of the statement: a statement
 * whose parameters name another database finds no row.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { statement, type Statement } from '../sql/statement.js';

/** One database, or work on all of them: listing their names, sweeping rows with an expiry, or
 * reading the feed. */
export type Scope = { readonly database: string } | { readonly work: 'list' | 'sweep' | 'feed' };

/** A statement that is sent with another one, with its parameters. */
export type Framing = readonly [Statement, readonly unknown[]];

const current = new AsyncLocalStorage<Scope>();

/** Every statement of the work has this scope, and no other. */
export const inScope = <R>(scope: Scope, work: () => Promise<R>): Promise<R> => current.run(scope, work);

export const currentScope = (): Scope | undefined => current.getStore();

const local = (name: string, value: string): string => `pg_catalog.set_config('${name}', ${value}, true)`;
const there = (name: string): string => `coalesce(pg_catalog.current_setting('${name}', true), '')`;

/** Always both settings: values that the session has set itself must not count. */
const enter = statement('scope', `select ${local('kvent.database', '$1')}, ${local('kvent.work', '$2')}`);
const remember = statement(
  'scope_outer',
  `select ${local('kvent.outer_database', there('kvent.database'))}, ${local('kvent.outer_work', there('kvent.work'))}`,
);
const restore = statement(
  'scope_restore',
  `select ${local('kvent.database', there('kvent.outer_database'))}, ${local('kvent.work', there('kvent.outer_work'))}`,
);

/**
 * The statements before and after a statement. In a transaction of the application, its own
 * settings are restored; when the statement fails, the server restores them.
 */
export function frameOf(
  scope: Scope,
  isInTransaction: boolean,
): { readonly before: readonly Framing[]; readonly after: readonly Framing[] } {
  const entering: Framing = [enter, 'database' in scope ? [scope.database, ''] : ['', scope.work]];
  return isInTransaction
    ? { before: [[remember, []], entering], after: [[restore, []]] }
    : { before: [entering], after: [] };
}
