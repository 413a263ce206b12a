/** A plot is data: its name, and how its charts are measured. */
import { join } from 'node:path';
import {
  JsonFileProvider,
  MemoryProvider,
  openStorage,
  type KeyValueStorage,
} from '@kvent/key-value-storage';
import { PostgresProvider } from '@kvent/key-value-postgres';
import type { Operation } from '../contender.js';
import type { DatabaseServer } from '../database-server.js';
import { measure } from '../measure.js';
import { median } from '../statistics.js';
import type { Chart, Point } from './svg.js';

export interface PlotOptions {
  /** An empty folder. */
  readonly directory: string;
  readonly server: () => Promise<DatabaseServer>;
  readonly rounds: number;
  /** Length of a measuring window. */
  readonly ms: number;
  /** The most rows and tenants, where fewer than the plot has. */
  readonly entriesMax: number;
}

export interface NamedChart extends Omit<Chart, 'note'> {
  /** The name of its file, and of its place in the page. */
  readonly name: string;
}

export interface Plot {
  /** `--only` selects by it. */
  readonly name: string;
  readonly measure: (options: PlotOptions) => Promise<readonly NamedChart[]>;
}

export interface NamedStorage {
  readonly name: string;
  readonly storage: KeyValueStorage;
}

/** Opens a new storage on each provider, for the time of the work. */
export async function withStorages<R>(
  { directory, server: start }: PlotOptions,
  work: (storages: readonly NamedStorage[]) => Promise<R>,
): Promise<R> {
  const server = await start();
  const schema = `kvent_plot_${process.pid}`;
  await server.create(schema);
  try {
    await using memory = await openStorage(new MemoryProvider());
    await using file = await openStorage(new JsonFileProvider({ directory: join(directory, 'data') }));
    await using postgres = await openStorage(new PostgresProvider({ url: server.url, schema }));
    return await work([
      { name: 'memory', storage: memory },
      { name: 'JSON file', storage: file },
      { name: 'Postgres', storage: postgres },
    ]);
  } finally {
    await server.drop(schema);
  }
}

/** Calls per second of each operation, measured in turn. */
export async function ratesOf(
  operations: readonly Operation[],
  { ms, rounds }: PlotOptions,
  callers = 1,
): Promise<readonly number[]> {
  const results = await measure(operations, { callers, ms }, rounds);
  return results.map((each) => median(each.map(({ callsPerSecond }) => callsPerSecond)));
}

/** Microseconds of a call, of one caller. */
export const timesOf = async (
  operations: readonly Operation[],
  options: PlotOptions,
): Promise<readonly number[]> => (await ratesOf(operations, options)).map((rate) => 1e6 / rate);

/** Points of one or more lines, collected while the sizes grow. */
export class Lines {
  readonly #points = new Map<string, Point[]>();

  add(name: string, x: number, y: number): void {
    const points = this.#points.get(name);
    if (points === undefined) this.#points.set(name, [{ x, y }]);
    else points.push({ x, y });
  }

  get series(): Chart['series'] {
    return Array.from(this.#points, ([name, points]) => ({ name, points }));
  }
}

/** The powers of ten from `from` to `to`, up to `max`. */
export const powersOfTen = (from: number, to: number, max: number): readonly number[] =>
  Array.from({ length: 9 }, (_, exponent) => Number(`1e${exponent}`)).filter(
    (each) => each >= from && each <= to && each <= max,
  );
