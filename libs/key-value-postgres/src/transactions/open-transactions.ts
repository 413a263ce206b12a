/**
 * The transactions that were joined in an async context and are open: a call outside them, in the
 * same context, must not wait for their rows. A context that `within` was not called in has none.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { EntityManager } from 'typeorm';

const joined = new AsyncLocalStorage<readonly EntityManager[]>();

/** Adds a transaction to the rest of the current async context, and to what it starts. */
export function enterTransaction(manager: EntityManager): void {
  const known = joined.getStore() ?? [];
  if (!known.includes(manager)) joined.enterWith([...known.filter(isOpen), manager]);
}

export const openTransactions = (): readonly EntityManager[] => joined.getStore()?.filter(isOpen) ?? [];

export const isOpen = ({ queryRunner }: EntityManager): boolean =>
  queryRunner?.isTransactionActive === true && !queryRunner.isReleased;
