/**
 * A process that changes one key of both kinds of counters: node counters-child.js <options of
 * PostgresProvider as JSON>. For each window that its parent sends, it sends what it counted; it
 * ends with its parent.
 */
import { once } from 'node:events';
import { defineCounter, defineShardedCounter, openStorage } from '@kvent/key-value-storage';
import { PostgresProvider, type PostgresProviderOptions } from '@kvent/key-value-postgres';

export const counters = { plain: defineCounter('plain'), sharded: defineShardedCounter('sharded') } as const;
export type CounterKind = keyof typeof counters;

export interface CounterWindow {
  readonly kind: CounterKind;
  /** Each calls again as soon as its call has returned. */
  readonly callers: number;
  readonly ms: number;
}
export interface Counted {
  readonly calls: number;
  /** From the first call to the return of the last one. */
  readonly ms: number;
}

const [options] = process.argv.slice(2);
// the parent imports the definitions from here
if (process.send !== undefined && options !== undefined)
  await count(JSON.parse(options) as PostgresProviderOptions);

async function count(given: PostgresProviderOptions): Promise<void> {
  const ended = once(process, 'disconnect');
  await using storage = await openStorage(new PostgresProvider(given));
  const [plain, sharded] = [storage.store(counters.plain), storage.store(counters.sharded)];
  const increment = {
    plain: async () => void (await plain.increment('hot')),
    sharded: () => sharded.increment('hot'),
  };
  process.on('message', (window: CounterWindow) => {
    void run(increment[window.kind], window).then((counted) => process.send?.(counted));
  });
  process.send?.('ready');
  await ended;
}

async function run(increment: () => Promise<void>, { callers, ms }: CounterWindow): Promise<Counted> {
  const begun = performance.now();
  let calls = 0;
  const caller = async (): Promise<void> => {
    do {
      await increment();
      calls += 1;
    } while (performance.now() < begun + ms);
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return { calls, ms: performance.now() - begun };
}
