/**
 * The projecting process: node projections-child.js <options of PostgresProvider as JSON>. It sends
 * each new event with its time, and ends with its parent.
 */
import { once } from 'node:events';
import { defineState, openStorage, type KeyValueStorage } from '@kvent/key-value-storage';
import { PostgresProvider, type PostgresProviderOptions } from '@kvent/key-value-postgres';
import { defineProjection, defineStream, event, ProjectionRunner } from '@kvent/event-store';

export const Movements = defineStream('movement', {
  events: { moved: event<{ readonly account: number }>() },
  initial: () => 0,
  evolve: (count) => count + 1,
});
/** Accounts from here on are those of events whose delay is measured. */
export const newAccounts = 1_000_000;

/** `at`: milliseconds of the clock that both processes have. */
export interface Handled {
  readonly account: number;
  readonly at: number;
}

/** Runs a projection that reports when its handler gets a new event. */
export async function recordHandled(
  storage: KeyValueStorage,
  onHandled: (handled: Handled) => void,
): Promise<AsyncDisposable> {
  const projection = defineProjection('recorded', {
    streams: [Movements],
    into: defineState<{ count: number }>('recorded'),
    key: ({ data }) => (data.account < newAccounts ? undefined : String(data.account)),
    initial: () => ({ count: 0 }),
    evolve: ({ count }, { data: { account } }) => {
      onHandled({ account, at: performance.timeOrigin + performance.now() });
      return { count: count + 1 };
    },
  });
  const runner = new ProjectionRunner(storage, projection);
  await runner.start();
  await runner.whenCaughtUp({ timeoutMs: 600_000 });
  return { [Symbol.asyncDispose]: () => runner.stop() };
}

const [options] = process.argv.slice(2);
// the parent imports the definitions from here
if (process.send !== undefined && options !== undefined)
  await follow(JSON.parse(options) as PostgresProviderOptions);

async function follow(given: PostgresProviderOptions): Promise<void> {
  const ended = once(process, 'disconnect');
  await using storage = await openStorage(new PostgresProvider(given));
  await using _runner = await recordHandled(storage, (handled) => process.send?.(handled));
  process.send?.('ready');
  await ended;
}
