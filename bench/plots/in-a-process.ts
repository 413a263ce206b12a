/**
 * What is measured in a process of its own: the memory of data, and the start of an application.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { JsonFileProvider, openStorage } from '@kvent/key-value-storage';
import { median } from '../statistics.js';
import { writeOnce } from './by-amount.js';
import { Lines, powersOfTen, type Plot } from './plot.js';

/** Of both embedded providers; megabytes of JSON, and of memory after garbage collection. */
export interface MemoryReport {
  readonly dataMB: number;
  readonly memoryMB: number;
}
/** Milliseconds from the start of the application. */
export interface StartReport {
  readonly startedMs: number;
  readonly readMs: number;
}

export const memory: Plot = {
  name: 'memory',
  measure: async ({ directory, entriesMax }) => {
    const lines = new Lines();
    for (const count of powersOfTen(1_000, 1_000_000, Math.max(entriesMax, 1_000)))
      for (const provider of ['memory', 'JSON file']) {
        const folder = join(directory, `${provider}-${count}`);
        const { dataMB, memoryMB } = await inChild<MemoryReport>('memory', provider, folder, String(count));
        lines.add(provider, dataMB, memoryMB);
      }
    return [
      {
        name: 'memory',
        title: 'Memory of the process, by its data',
        x: 'MB of data: values as JSON, and keys',
        y: 'MB of memory',
        series: lines.series,
      },
    ];
  },
};

export const start: Plot = {
  name: 'start',
  measure: async ({ directory, rounds, entriesMax }) => {
    const lines = new Lines();
    for (const count of powersOfTen(1, 10_000, entriesMax)) {
      const folder = join(directory, String(count));
      {
        await using storage = await openStorage(new JsonFileProvider({ directory: folder }));
        await writeOnce({ name: 'JSON file', storage }, 0, count);
      }
      const reports: StartReport[] = [];
      for (let round = 0; round < rounds; round += 1)
        reports.push(await inChild<StartReport>('start', folder, String(count)));
      lines.add('start', count, median(reports.map(({ startedMs }) => startedMs)));
      lines.add('start and read each tenant', count, median(reports.map(({ readMs }) => readMs)));
    }
    return [
      {
        name: 'start',
        title: 'Start of an application on files, by its tenants',
        x: 'tenants',
        y: 'ms',
        series: lines.series,
      },
    ];
  },
};

async function inChild<R>(...args: readonly string[]): Promise<R> {
  const script = join(import.meta.dirname, 'child.js');
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', script, ...args]);
  return JSON.parse(stdout) as R;
}
