/** Measures plots, draws them beside the page, and writes their tables into it. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Machine } from '../machine.js';
import { rows, tenants } from './by-amount.js';
import { callers, events, values } from './by-size.js';
import { memory, start } from './in-a-process.js';
import { figuresOf, withFigures } from './page.js';
import type { Plot, PlotOptions } from './plot.js';
import { svgOf } from './svg.js';

const plots: readonly Plot[] = [events, values, callers, rows, tenants, memory, start];

export interface RunPlotsOptions extends PlotOptions {
  /** Plots whose name contains this. */
  readonly only: string;
  /** A page of Markdown; the charts are in the folder beside it that has its name. */
  readonly page: string;
  readonly machine: Machine;
  readonly onPlot: (name: string, seconds: number) => void;
}

export async function runPlots(options: RunPlotsOptions): Promise<void> {
  const { only, page, machine, directory, onPlot } = options;
  const chosen = plots.filter(({ name }) => name.includes(only));
  if (chosen.length === 0)
    throw new Error(`--only must be a part of ${plots.map(({ name }) => name).join(', ')}; got '${only}'.`);
  const folder = basename(page, '.md');
  mkdirSync(join(dirname(page), folder), { recursive: true });
  const day = new Date().toISOString().slice(0, 10);
  const note = `${day}, Node ${process.version}, ${machine.cores} cores (${machine.processor}), ${machine.fileSystem}, load ${machine.loadBefore}`;
  for (const plot of chosen) {
    const begun = performance.now();
    const own = join(directory, plot.name);
    for (const chart of await plot.measure({ ...options, directory: own })) {
      const image = `${folder}/${chart.name}.svg`;
      writeFileSync(join(dirname(page), image), svgOf({ ...chart, note }));
      const figures = figuresOf({ ...chart, note }, image);
      writeFileSync(page, withFigures(readFileSync(page, 'utf8'), chart.name, figures));
    }
    rmSync(own, { recursive: true, force: true });
    onPlot(plot.name, (performance.now() - begun) / 1_000);
  }
}
