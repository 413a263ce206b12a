/**
 * The cost of opening a store with many entries. Each opening runs in a process of its own, which
 * reports its duration and its memory.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Opening } from './contender.js';
import { openLevelSync } from './contenders/classic-level.js';
import { openJsonFile } from './contenders/json-file.js';
import { openKeyvFile } from './contenders/keyv.js';
import { openLowdb } from './contenders/lowdb.js';
import { keysOf } from './product.js';
import { median } from './statistics.js';
import { columns } from './table.js';

/** By the names that the child process gets. */
export const openings: Readonly<Record<string, Opening>> = {
  'kvent, JSON file': openJsonFile,
  'classic-level': openLevelSync,
  'keyv-file': openKeyvFile,
  lowdb: openLowdb,
};

/**
 * The report of a child process: milliseconds to open the store and read one entry, and bytes of
 * memory (RSS) before and after.
 */
export interface OpenedReport {
  readonly ms: number;
  readonly rssBefore: number;
  readonly rssAfter: number;
}

export interface OpeningResult {
  readonly contender: string;
  readonly entries: number;
  readonly dataBytes: number;
  readonly ms: number;
  readonly memoryBytes: number;
}

export async function measureOpening(options: {
  readonly directory: string;
  readonly entries: number;
  readonly rounds: number;
}): Promise<readonly OpeningResult[]> {
  const { entries, rounds } = options;
  const setups = Object.entries(openings).map(([name, open], index) => ({
    name,
    open,
    directory: join(options.directory, `open-${index}`),
  }));
  const opened = new Map<string, OpenedReport[]>(setups.map(({ name }) => [name, []]));
  for (const { open, directory } of setups) {
    mkdirSync(directory, { recursive: true });
    await (await open({ keys: keysOf(entries), longEvents: 0, directory, filled: false })).close?.();
  }
  for (let round = 0; round < rounds; round += 1) {
    for (const { name, directory } of setups)
      opened.get(name)?.push(await openInChild(name, directory, entries));
  }
  return setups.map(({ name, directory }) => {
    const results = opened.get(name) ?? [];
    return {
      contender: name,
      entries,
      dataBytes: sizeOf(directory),
      ms: median(results.map(({ ms }) => ms)),
      memoryBytes: median(results.map(({ rssBefore, rssAfter }) => rssAfter - rssBefore)),
    };
  });
}

async function openInChild(name: string, directory: string, entries: number): Promise<OpenedReport> {
  const script = join(import.meta.dirname, 'opening-child.js');
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--expose-gc',
    script,
    name,
    directory,
    String(entries),
  ]);
  return JSON.parse(stdout) as OpenedReport;
}

function sizeOf(directory: string): number {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  return files.reduce((bytes, file) => bytes + statSync(join(file.parentPath, file.name)).size, 0);
}

export function openingTable(results: readonly OpeningResult[]): string {
  const mb = (bytes: number): string => (bytes / 1e6).toFixed(1);
  const heading = ['', 'ms', 'memory MB', 'data MB', 'memory : data'];
  const lines = results.map(({ contender, ms, memoryBytes, dataBytes }) => [
    contender,
    ms.toFixed(0),
    mb(memoryBytes),
    mb(dataBytes),
    (memoryBytes / dataBytes).toFixed(2),
  ]);
  return [
    `open and read one of ${(results[0]?.entries ?? 0).toLocaleString('en')} entries, each in a new process`,
    ...columns([heading, ...lines]).map((line) => `  ${line}`),
    '',
  ].join('\n');
}
