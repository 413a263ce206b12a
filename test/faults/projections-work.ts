/** A projection of several processes on one Postgres, and what its totals must be. */
import { defineProjection, defineStream, event, EventStore, ProjectionRunner } from '@kvent/event-store/core';
import { defineState, type KeyValueStorage } from '@kvent/key-value-storage/core';
import { openKeyValueStorage } from '@kvent/key-value-storage/internal';
import { PostgresProvider } from '@kvent/key-value-postgres';
import type { Random } from './seeded-random.js';
import { StreamsProcess } from './streams-processes.js';

export const Sales = defineStream('sale', {
  events: { sold: event<{ product: string; cents: number }>() },
  initial: () => 0,
  evolve: (cents, { data }) => cents + data.cents,
});
export const Totals = defineState<{ sold: number; cents: number }>('totals');
const partitions = 4;
const streams = 24;
const products = 10;
const tenants = ['acme', 'globex'];
export const runnerOptions = { leaseTtlMs: 1_000, keepOldMs: 1_000, retry: { attempts: 1_000 } } as const;

/** `folded` is called for each event, before its changes are committed. */
export const totalsByProduct = (folded: () => void = () => undefined) =>
  defineProjection('totals-by-product', {
    streams: [Sales],
    into: Totals,
    partitions,
    key: ({ data }) => {
      folded();
      return data.product;
    },
    initial: () => ({ sold: 0, cents: 0 }),
    evolve: ({ sold, cents }, { data }) => ({ sold: sold + 1, cents: cents + data.cents }),
  });

export const openAt = async (url: string): Promise<KeyValueStorage> =>
  await openKeyValueStorage({ provider: new PostgresProvider({ url }), tenant: () => undefined });

/** Appends a number of sales, several at a time. */
export async function sell(storage: KeyValueStorage, random: Random, count: number): Promise<void> {
  const sales = new EventStore(storage).stream(Sales);
  const one = async (): Promise<void> => {
    const data = { product: `p-${random.below(products)}`, cents: random.below(1_000) };
    await sales
      .forTenant(random.pick(tenants))
      .append(`s-${random.below(streams)}`, [{ type: 'sold', data }], {
        expectedVersion: 'any',
      });
  };
  for (let sold = 0; sold < count; sold += 8)
    await Promise.all(Array.from({ length: Math.min(8, count - sold) }, one));
}

/**
 * Compares the states of all tenants with the sums of their streams; returns the number of sales.
 */
export async function compareTotals(storage: KeyValueStorage, runner: ProjectionRunner): Promise<number> {
  let events = 0;
  for (const tenant of tenants) {
    const expected = new Map<string, { sold: number; cents: number }>();
    const sales = new EventStore(storage).stream(Sales).forTenant(tenant);
    for (let stream = 0; stream < streams; stream += 1)
      for await (const { data } of sales.read(`s-${stream}`)) {
        const { sold, cents } = expected.get(data.product) ?? { sold: 0, cents: 0 };
        expected.set(data.product, { sold: sold + 1, cents: cents + data.cents });
        events += 1;
      }
    const found = new Map<string, { sold: number; cents: number }>();
    for await (const { key, value } of runner.store(Totals).forTenant(tenant).list())
      found.set(String(key), value);
    const difference = [...expected].find(
      ([product, { sold, cents }]) =>
        found.get(product)?.sold !== sold || found.get(product)?.cents !== cents,
    );
    if (difference !== undefined || found.size !== expected.size)
      throw new Error(
        `${tenant}: the streams have ${JSON.stringify(difference)}, the states ${JSON.stringify(found.get(difference?.[0] ?? ''))}, in ${expected.size} and ${found.size} entries.`,
      );
  }
  return events;
}

export interface KillReport {
  readonly kills: number;
  readonly events: number;
  readonly builds: number;
}

/**
 * Workers share the partitions, and one after the other is killed at a random moment while sales go
 * on; in between the projection is rebuilt, so that builds, switches and removals are hit too. At
 * the end, and every 20 kills, the totals must be those of the streams.
 */
export async function killWorkers(
  url: string,
  { kills, workers, random }: { readonly kills: number; readonly workers: number; readonly random: Random },
  onCheck: (report: KillReport) => void = () => undefined,
): Promise<KillReport> {
  await using storage = await openAt(url);
  // it looks on, and reads no partition
  const runner = new ProjectionRunner(storage, totalsByProduct(), runnerOptions);
  const start = async (): Promise<StreamsProcess> => {
    const worker = new StreamsProcess(url, 'project');
    await worker.line();
    return worker;
  };
  const running: StreamsProcess[] = [];
  try {
    for (let index = 0; index < workers; index += 1) running.push(await start());
    let builds = 0;
    const check = async (done: number): Promise<KillReport> => {
      await runner.whenCaughtUp({ timeoutMs: 600_000 });
      const report = { kills: done, builds, events: await compareTotals(storage, runner) };
      onCheck(report);
      return report;
    };
    for (let done = 0; done < kills; done += 1) {
      if (done % 5 === 2) {
        await runner.rebuild();
        builds += 1;
      }
      // the next worker starts beside the sales, and beside the kill
      const next = start();
      await sell(storage, random, 1 + random.below(60));
      const [victim] = running.splice(random.below(running.length), 1);
      victim?.signal('SIGKILL');
      running.push(await next);
      await victim?.ended();
      if (done % 20 === 19) await check(done + 1);
    }
    await runner.whenRebuilt({ timeoutMs: 600_000 });
    return await check(kills);
  } finally {
    for (const worker of running) await worker[Symbol.asyncDispose]();
  }
}
