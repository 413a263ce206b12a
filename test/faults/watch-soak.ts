/**
 * Two processes watch a thousand keys of a real Postgres with `watch`, `watchMany` and `watchRange`
 * while four write them; then the same in one process on a JSON file and in memory, which only one
 * process can have open: `npm run watch-soak -- [--seconds 60] [--only postgres|json-file|memory]`.
 * For each watch it prints the delays and what is wrong (`watch-check.ts`), and fails if anything
 * is.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { JsonFileProvider, MemoryProvider } from '@kvent/key-value-storage/core';
import { PostgresServer } from '../postgres/server.js';
import { watchInOneProcess, watchInProcesses, type WatchReport } from './watch-run.js';
import { pollMs, watchers, writers } from './watch-work.js';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '60' }, only: { type: 'string', default: '' } },
});
const run = { until: 'watchedSeconds', amount: Number(values.seconds) } as const;

const soaks: Readonly<Record<string, () => Promise<WatchReport>>> = {
  postgres: async () => {
    await using server = await PostgresServer.create();
    return await watchInProcesses(server.url(), run);
  },
  'json-file': async () => {
    const directory = await mkdtemp(join(tmpdir(), 'kvent-watch-soak-'));
    try {
      return await watchInOneProcess(new JsonFileProvider({ directory }), run);
    } finally {
      await rm(directory, { recursive: true });
    }
  },
  memory: () => watchInOneProcess(new MemoryProvider(), run),
};

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const spread = ({ p50, p99, max }: { readonly p50: number; readonly p99: number; readonly max: number }) =>
  `p50 ${p50.toFixed(1)}, p99 ${p99.toFixed(1)}, max ${max.toFixed(1)} ms`;

let wrong = 0;
for (const [name, soak] of Object.entries(soaks)) {
  if (!name.includes(values.only)) continue;
  const where =
    name === 'postgres'
      ? `${watchers} processes watch, ${writers} write; a poll each ${pollMs} ms`
      : `${watchers} watchers and ${writers} writers in one process; no polls`;
  const { writes, views } = await soak();
  print(`${name}: ${where}; ${writes.toLocaleString('en')} writes`);
  for (const { kind, items, delayMs, ageMs, waitedMsMost, reading, violations } of views) {
    print(`  ${kind}: ${items.toLocaleString('en')} states shown`);
    print(`    delay: ${spread(delayMs)}; waited at most ${waitedMsMost.toFixed(1)} ms`);
    print(`    age of an item: ${spread(ageMs)}; reading ${(reading * 100).toFixed(0)} % of the time`);
    print(`    violations: ${JSON.stringify(violations)}`);
    wrong += Object.values(violations).reduce((sum, count) => sum + count);
  }
}
print(`${wrong} violations`);
process.exitCode = wrong === 0 ? 0 : 1;
