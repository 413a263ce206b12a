/** Counts statements at `pg`. */
import { jest } from '@jest/globals';
import { Client } from 'pg';

/**
 * How many statements on the table `kvent.row` the work sends. Not counted is what may come at any
 * time: the set-up of a new connection, and the look at the size of the table.
 */
export async function statementsOf(work: () => Promise<unknown>): Promise<number> {
  const query = jest.spyOn(Client.prototype, 'query');
  try {
    await work();
    const calls: readonly (readonly unknown[])[] = query.mock.calls;
    return calls.filter(([sent]) => textOf(sent).includes('"kvent"."row"')).length;
  } finally {
    query.mockRestore();
  }
}

const textOf = (sent: unknown): string =>
  typeof sent === 'string' ? sent : ((sent as { readonly text?: string } | null)?.text ?? '');
