/**
 * One hot counter on Postgres, changed by several processes: a `ShardedCounter` beside a plain one.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { openStorage } from '@kvent/key-value-storage';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { counters, type Counted, type CounterKind, type CounterWindow } from './counters-child.js';
import { poolSize, type DatabaseServer } from './database-server.js';
import { median, percentile } from './statistics.js';
import { columns } from './table.js';

/** Callers are of each process. */
const cases = [
  ...[1, 2, 4].map((processes) => ({ processes, callerCounts: [1, 16, 64] })),
  ...[8, 16].map((processes) => ({ processes, callerCounts: [1] })),
];
const msDefault = 500;

interface HotCounter {
  readonly processes: number;
  readonly callers: number;
  /** Changes per second of the plain counter, by all processes together. */
  readonly plain: number;
  readonly sharded: number;
  /** Changes per second of the sharded counter, × those of the plain one in the same round. */
  readonly ratio: number;
  readonly quartiles: readonly [number, number];
}
export type CountersResult = readonly HotCounter[];

interface Options {
  readonly server: DatabaseServer;
  readonly rounds: number;
  readonly ms: number | undefined;
}

export async function measureCounters({ server, rounds, ms = msDefault }: Options): Promise<CountersResult> {
  const schema = 'kvent_counters';
  await server.create(schema);
  const options = { url: server.url, schema, poolSize };
  const children: CountingProcess[] = [];
  try {
    await using storage = await openStorage(new PostgresProvider(options));
    const counted = { plain: 0, sharded: 0 };
    const results: HotCounter[] = [];
    for (const { processes, callerCounts } of cases) {
      const more = Array.from({ length: processes - children.length }, () => new CountingProcess(options));
      children.push(...more);
      await Promise.all(more.map((child) => child.begun()));
      for (const callers of callerCounts) {
        const rates = { plain: [] as number[], sharded: [] as number[] };
        for (let round = -1; round < rounds; round += 1)
          for (const kind of round % 2 === 0
            ? (['plain', 'sharded'] as const)
            : (['sharded', 'plain'] as const)) {
            const all = await Promise.all(children.map((child) => child.count({ kind, callers, ms })));
            for (const { calls } of all) counted[kind] += calls;
            // one round to warm up
            if (round >= 0)
              rates[kind].push(all.reduce((sum, { calls, ms: took }) => sum + (calls * 1_000) / took, 0));
          }
        results.push({ processes, callers, ...resultOf(rates) });
      }
    }
    const stored = {
      plain: await storage.store(counters.plain).get('hot'),
      sharded: await storage.store(counters.sharded).get('hot'),
    };
    for (const kind of ['plain', 'sharded'] as const)
      if (stored[kind] !== counted[kind])
        throw new Error(`The ${kind} counter has counted ${counted[kind]}, but has stored ${stored[kind]}.`);
    return results;
  } finally {
    for (const child of children) await child.end();
    await server.drop(schema);
  }
}

function resultOf(rates: Readonly<Record<CounterKind, readonly number[]>>) {
  const ratios = rates.sharded.map((rate, round) => rate / (rates.plain[round] as number));
  return {
    plain: median(rates.plain),
    sharded: median(rates.sharded),
    ratio: median(ratios),
    quartiles: [percentile(ratios, 0.25), percentile(ratios, 0.75)] as const,
  };
}

class CountingProcess {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  constructor(options: object) {
    this.#child = fork(join(import.meta.dirname, 'counters-child.js'), [JSON.stringify(options)]);
    this.#exited = once(this.#child, 'exit');
  }

  /** Resolves when it has opened its storage. */
  async begun(): Promise<void> {
    await this.#next();
  }

  async count(window: CounterWindow): Promise<Counted> {
    this.#child.send(window);
    return (await this.#next()) as Counted;
  }

  async end(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    await this.#exited;
  }

  /** Its next message. */
  async #next(): Promise<unknown> {
    const ended = this.#exited.then(() => {
      throw new Error('A counting process has ended too early.');
    });
    const [message] = (await Promise.race([once(this.#child, 'message'), ended])) as [unknown];
    return message;
  }
}

export function countersTable(results: CountersResult): string {
  const whole = (value: number): string => Math.round(value).toLocaleString('en');
  const lines = results.map(({ processes, callers, plain, sharded, ratio, quartiles }) => [
    `${processes} × ${callers}`,
    whole(plain),
    whole(sharded),
    ratio.toPrecision(3),
    quartiles.map((each) => each.toPrecision(3)).join('–'),
  ]);
  return [
    'one hot counter, 16 shards beside a plain one; × changes per second of the plain one in the same round',
    ...columns([['processes × callers', 'plain/s', 'sharded/s', '×', 'quartiles'], ...lines]).map(
      (line) => `  ${line}`,
    ),
    '',
  ].join('\n');
}
