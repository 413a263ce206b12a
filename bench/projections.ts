/**
 * The speed of projections: many events folded into few states, and the time from the
 * acknowledgement of an append to the handler, in this process and in another one.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import {
  defineState,
  JsonFileProvider,
  MemoryProvider,
  openStorage,
  type StorageProvider,
} from '@kvent/key-value-storage';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { defineProjection, EventStore, ProjectionRunner } from '@kvent/event-store';
import { openEmmettProjection } from './contenders/emmett-projection.js';
import type { DatabaseServer } from './database-server.js';
import { Movements, newAccounts, recordHandled, type Handled } from './projections-child.js';
import { median, percentile } from './statistics.js';
import { columns } from './table.js';

const states = 1_000;
/** Of the events, for Emmett: with a read and a write per event, all of them take ten minutes. */
const emmettShare = 0.02;
const timeoutMs = 600_000;

interface FoldResult {
  readonly name: string;
  readonly events: number;
  readonly eventsPerSecond: number;
  /** CPU time of this process, without that of the database server. */
  readonly cpuUsPerEvent: number;
  readonly aim?: number;
}
interface HandlerDelay {
  readonly name: string;
  readonly events: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}
export interface ProjectionsResult {
  readonly folds: readonly FoldResult[];
  readonly delays: readonly HandlerDelay[];
}

export interface ProjectionsOptions {
  readonly directory: string;
  readonly server: DatabaseServer;
  readonly rounds: number;
  readonly events: number;
  /** Number of appends whose delay is measured. */
  readonly appends: number;
}

interface Database {
  readonly url: string;
  readonly schema: string;
}

export async function measureProjections(options: ProjectionsOptions): Promise<ProjectionsResult> {
  const { directory, server, events, rounds, appends } = options;
  const schemas = ['kvent_projection', 'kvent_projection_notify', 'emmett_projection'] as const;
  try {
    for (const schema of schemas) await server.create(schema);
    const [polled, notified, emmett] = schemas.map((schema) => ({ url: server.url, schema })) as [
      Database,
      Database,
      Database,
    ];
    const file = (name: string) => new JsonFileProvider({ directory: join(directory, name) });
    const folded = [
      await fold('kvent, Postgres', new PostgresProvider(polled), { events, rounds, aim: 20_000 }),
      await foldWithEmmett(emmett, { events: Math.ceil(events * emmettShare), rounds }),
      await fold('kvent, JSON file', file('folded'), { events, rounds, aim: 40_000 }),
      await fold('kvent, memory', new MemoryProvider(), { events, rounds, aim: 40_000 }),
    ];
    const delays = [
      await delayHere('memory', new MemoryProvider(), appends),
      await delayHere('JSON file', file('delays'), appends),
      await delayHere('Postgres', new PostgresProvider(polled), appends),
      await delayThere('Postgres, another process', { ...polled, notify: false }, appends),
      await delayThere('Postgres with notify, another process', { ...notified, notify: true }, appends),
    ];
    return { folds: folded, delays };
  } finally {
    for (const schema of schemas) await server.drop(schema);
  }
}

interface Size {
  readonly events: number;
  readonly rounds: number;
}

/** Each round folds all events again, with a projection and a state of its own. */
async function fold(
  name: string,
  provider: StorageProvider,
  { events, rounds, aim }: Size & { readonly aim: number },
): Promise<FoldResult> {
  await using storage = await openStorage(provider);
  await fill(new EventStore(storage), events);
  const folded = async (round: number): Promise<void> => {
    const Balances = defineState<{ count: number }>(`balance-${round}`);
    const projection = defineProjection(`balances-${round}`, {
      streams: [Movements],
      into: Balances,
      key: ({ data }) => String(data.account),
      initial: () => ({ count: 0 }),
      evolve: ({ count }) => ({ count: count + 1 }),
    });
    const runner = new ProjectionRunner(storage, projection);
    await runner.start();
    await runner.whenCaughtUp({ timeoutMs });
    await runner.stop();
    let count = 0;
    for await (const { value } of storage.store(Balances).list()) count += value.count;
    assertCount(name, count, events);
  };
  return { name, events, aim, ...(await timed(events, rounds, folded)) };
}

async function foldWithEmmett(database: Database, { events, rounds }: Size): Promise<FoldResult> {
  const name = 'Emmett, Postgres';
  const emmett = await openEmmettProjection(database);
  try {
    await emmett.fill(accounts(events).map((account) => ({ account })));
    const folded = async (round: number): Promise<void> =>
      assertCount(name, await emmett.project(`balances_${round}`), events);
    return { name, events, ...(await timed(events, rounds, folded)) };
  } finally {
    await emmett.close();
  }
}

function assertCount(name: string, count: number, events: number): void {
  if (count !== events) throw new Error(`${name} has counted ${count} of ${events} events.`);
}

async function timed(
  events: number,
  rounds: number,
  run: (round: number) => Promise<void>,
): Promise<Pick<FoldResult, 'eventsPerSecond' | 'cpuUsPerEvent'>> {
  const results: { readonly ms: number; readonly cpuUs: number }[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const [begun, cpu] = [performance.now(), process.cpuUsage()];
    await run(round);
    const { user, system } = process.cpuUsage(cpu);
    results.push({ ms: performance.now() - begun, cpuUs: user + system });
  }
  return {
    eventsPerSecond: (events * 1_000) / median(results.map(({ ms }) => ms)),
    cpuUsPerEvent: median(results.map(({ cpuUs }) => cpuUs)) / events,
  };
}

/** Random but the same in each run: a page of 1,000 events has about 630 of the states. */
function accounts(events: number): readonly number[] {
  let seed = 1;
  return Array.from({ length: events }, () => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return (seed >>> 8) % states;
  });
}

const appendEvents = 100;
const appendsAtOnce = 16;

async function fill(store: EventStore, events: number): Promise<void> {
  const movements = store.stream(Movements);
  const rest = accounts(events).map((account) => ({ type: 'moved', data: { account } }) as const);
  let stream = 0;
  const append = async (): Promise<void> => {
    while (rest.length > 0)
      await movements.append(`stream-${(stream += 1)}`, rest.splice(-appendEvents), {
        expectedVersion: 'absent',
      });
  };
  await Promise.all(Array.from({ length: appendsAtOnce }, append));
}

/** Appends in this process, whose handler runs in this process too. */
async function delayHere(name: string, provider: StorageProvider, appends: number): Promise<HandlerDelay> {
  await using storage = await openStorage(provider);
  let handled: (handled: Handled) => void = () => undefined;
  await using _runner = await recordHandled(storage, (each) => handled(each));
  const next = () => new Promise<Handled>((resolve) => (handled = resolve));
  return await delayOf(name, new EventStore(storage), appends, next);
}

async function delayThere(
  name: string,
  options: Database & { readonly notify: boolean },
  appends: number,
): Promise<HandlerDelay> {
  await using storage = await openStorage(new PostgresProvider(options));
  const child = fork(join(import.meta.dirname, 'projections-child.js'), [JSON.stringify(options)]);
  const exited = once(child, 'exit');
  try {
    await once(child, 'message');
    const next = async (): Promise<Handled> => ((await once(child, 'message')) as [Handled])[0];
    return await delayOf(name, new EventStore(storage), appends, next);
  } finally {
    child.disconnect();
    await exited;
  }
}

/** Before each append is a random pause, so that the appends do not follow the polls. */
async function delayOf(
  name: string,
  store: EventStore,
  appends: number,
  next: () => Promise<Handled>,
): Promise<HandlerDelay> {
  const delays: number[] = [];
  for (let append = 0; append < appends; append += 1) {
    await wait(Math.random() * 300);
    const handled = next();
    const account = newAccounts + append;
    await store
      .stream(Movements)
      .append(`${name}-${append}`, [{ type: 'moved', data: { account } }], { expectedVersion: 'absent' });
    const at = performance.timeOrigin + performance.now();
    const event = await handled;
    if (event.account !== account)
      throw new Error(`${name} has handled ${event.account} instead of ${account}.`);
    // in the same process, the handler may run before the caller continues
    delays.push(Math.max(0, event.at - at));
  }
  return { name, events: appends, p50Ms: percentile(delays, 0.5), p99Ms: percentile(delays, 0.99) };
}

export function projectionsTable({ folds, delays }: ProjectionsResult): string {
  const foldLines = folds.map(({ name, events, eventsPerSecond, cpuUsPerEvent }) => [
    name,
    events.toLocaleString('en'),
    Math.round(eventsPerSecond).toLocaleString('en'),
    cpuUsPerEvent.toFixed(1),
  ]);
  const aims = folds.flatMap(({ name, eventsPerSecond, aim }) =>
    aim === undefined
      ? []
      : [
          `aim: ≥ ${aim.toLocaleString('en')} events/s, ${eventsPerSecond >= aim ? 'reached' : 'MISSED'} by ${name}`,
        ],
  );
  const delayLines = delays.map(({ name, events, p50Ms, p99Ms }) => [
    name,
    String(events),
    p50Ms.toFixed(1),
    p99Ms.toFixed(1),
  ]);
  return [
    `a projection of all events into ${states.toLocaleString('en')} states`,
    ...[...columns([['', 'events', 'events/s', 'CPU µs an event'], ...foldLines]), ...aims].map(
      (line) => `  ${line}`,
    ),
    '',
    'from the acknowledgement of an append to the handler of a projection',
    ...columns([['', 'events', 'p50 ms', 'p99 ms'], ...delayLines]).map((line) => `  ${line}`),
    '',
  ].join('\n');
}
