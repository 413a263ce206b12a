/**
 * The open transactions of a caller: a call outside them, by the same caller, must not wait for
 * their rows. `within` marks the async context that it is called in; a context that is not marked
 * has none. Another caller must never see a mark: the rows that it waits for become free.
 */
import { AsyncLocalStorage, AsyncResource, executionAsyncResource } from 'node:async_hooks';
import { types } from 'node:util';
import type { EntityManager, QueryRunner } from 'typeorm';

interface Mark {
  readonly manager: EntityManager;
  readonly begun: Begun | undefined;
}

/** One transaction of a query runner, which may begin another one later. */
interface Begun {
  /** The open transactions of its caller when it began. */
  readonly around: readonly Mark[];
}

const marks = new AsyncLocalStorage<readonly Mark[]>();
const lastBegun = new WeakMap<QueryRunner, Begun>();

/**
 * To be called before a transaction is joined. Node before 24 gives a promise a context of its own
 * only once an `AsyncLocalStorage` is in use: until then, all promises in progress share one.
 */
export function trackTransactions(): void {
  marks.run([], () => undefined);
}

export function beginTransaction(runner: QueryRunner): void {
  lastBegun.set(runner, { around: openMarks() });
}

/** Adds a transaction to the rest of the current async context, and to what it starts. */
export function enterTransaction(manager: EntityManager): void {
  const known = openMarks();
  if (!known.some((each) => each.manager === manager) && isOfOneCaller())
    marks.enterWith([...known, { manager, begun: begunOf(manager) }]);
}

/**
 * The open transactions of the caller of a call that is made inside one (`undefined`: inside none),
 * if they wait for it. Of those around a transaction, that is certain; those that were begun beside
 * it may end first, also where they share an async context.
 */
export const openTransactions = (inside?: EntityManager): readonly object[] =>
  (inside === undefined ? openMarks() : (begunOf(inside)?.around.filter(isCurrent) ?? [])).map(
    ({ manager }) => transactionOf(manager),
  );

/** What is one for each transaction, also where its query runner or manager is used again. */
export const transactionOf = (manager: EntityManager): object =>
  begunOf(manager) ?? manager.queryRunner ?? manager;

export const isOpen = ({ queryRunner }: EntityManager): boolean =>
  queryRunner?.isTransactionActive === true && !queryRunner.isReleased;

const openMarks = (): readonly Mark[] => marks.getStore()?.filter(isCurrent) ?? [];

const isCurrent = ({ manager, begun }: Mark): boolean => isOpen(manager) && begunOf(manager) === begun;

const begunOf = ({ queryRunner }: EntityManager): Begun | undefined =>
  queryRunner && lastBegun.get(queryRunner);

/**
 * Whether what is entered now ends with the work of one caller. Node before 24 enters it into the
 * resource of the current callback: a promise is that of one caller, a connection of many requests.
 */
const isOfOneCaller = (): boolean => !resourcesKeep || types.isPromise(executionAsyncResource());

const resourcesKeep = ((): boolean => {
  const probe = new AsyncLocalStorage<true>();
  const resource = new AsyncResource('KVENT_PROBE');
  resource.runInAsyncScope(() => probe.enterWith(true));
  const isKept = resource.runInAsyncScope(() => probe.getStore() === true);
  probe.disable();
  return isKept;
})();
