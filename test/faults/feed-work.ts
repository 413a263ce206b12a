/**
 * A process that appends to the feed of a Postgres. Its callers also keep transactions open while
 * they append outside of them, at random: some have only an id, the others append to a stream of
 * their own before, and to a shared one after. Some are rolled back.
 */
import { defineStream, event, EventStore } from '@kvent/event-store/core';
import { isStorageError } from '@kvent/key-value-storage/core';
import { openKeyValueStorage } from '@kvent/key-value-storage/internal';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { DataSource, type EntityManager } from 'typeorm';
import { seededRandom, seedOfRun } from './seeded-random.js';

export const Moves = defineStream('move', {
  events: { moved: event<{ n: number }>() },
  initial: () => 0,
  evolve: (count) => count + 1,
});
export const moveTenants = ['acme', 'globex'];
const callers = 6;
const shared = Array.from({ length: 60 }, (_, number) => `shared-${number}`);
/** Only the caller itself appends to it, so that its transaction holds up no other one. */
const ownStream = (process: number, caller: number): string => `own-${process}-${caller}`;
export const feedProcesses = 2;
export const moveStreams: readonly string[] = [
  ...shared,
  ...Array.from({ length: feedProcesses * callers }, (_, index) =>
    ownStream(Math.floor(index / callers), index % callers),
  ),
];

const minutesMs = 120_000;

class RolledBack extends Error {}

interface FeedWork {
  readonly url: string;
  readonly process: number;
  /** How many appends of this process are committed. */
  readonly rounds: number;
}

export async function appendToFeed({ url, process, rounds }: FeedWork) {
  const did = { appends: 0, events: 0, transactions: 0, rolledBack: 0, refused: 0 };
  // each caller has at most two connections
  const source = await new DataSource({ type: 'postgres', url, poolSize: 2 * callers + 2 }).initialize();
  // a busy machine is no failure
  const provider = new PostgresProvider({
    dataSource: source,
    acquireTimeoutMs: minutesMs,
    lockTimeoutMs: minutesMs,
    requestTimeoutMs: 2 * minutesMs,
  });
  await using storage = await openKeyValueStorage({ provider, tenant: () => undefined });
  const moves = new EventStore(storage).stream(Moves);

  const caller = async (number: number): Promise<void> => {
    const random = seededRandom(seedOfRun() + process * callers + number);
    const append = async (stream: string, manager?: EntityManager): Promise<number> => {
      const where = manager === undefined ? moves : moves.within(manager);
      const events = Array.from(
        { length: 1 + random.below(3) },
        (_, n) => ({ type: 'moved', data: { n } }) as const,
      );
      await where.forTenant(random.pick(moveTenants)).append(stream, events, { expectedVersion: 'any' });
      return events.length;
    };
    const appendAlone = async (): Promise<void> => {
      const events = await append(random.pick(shared));
      did.events += events;
      did.appends += 1;
    };
    const slowTransaction = async (): Promise<void> => {
      const appends = random.chance(0.6);
      const isRolledBack = random.chance(0.4);
      const committed = await source.transaction(async (manager) => {
        await manager.query('select pg_current_xact_id()');
        const before = appends ? await append(ownStream(process, number), manager) : 0;
        for (let others = random.below(12); others > 0; others -= 1) await appendAlone();
        const after = appends ? await append(random.pick(shared), manager) : 0;
        if (isRolledBack) throw new RolledBack();
        return before + after;
      });
      did.transactions += 1;
      did.events += committed;
      did.appends += appends ? 2 : 0;
    };
    while (did.appends < rounds)
      await (random.chance(0.8) ? appendAlone() : slowTransaction()).catch((error: unknown) => {
        if (error instanceof RolledBack) did.rolledBack += 1;
        // it would have stood before what it follows
        else if (isStorageError(error, 'STORAGE_CONFLICT')) did.refused += 1;
        else throw error;
      });
  };
  try {
    await Promise.all(Array.from({ length: callers }, (_, number) => caller(number)));
  } finally {
    await source.destroy();
  }
  return { did, wrong: [] };
}
