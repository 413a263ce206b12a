/**
 * Real processes with fifty callers each increment the same ten rows of a real Postgres: `npm run
 * contention -- --rounds 1000 --processes 2` makes 100,000 increments. It prints the rate, and
 * fails if the counts are not exact or the log of the server has a deadlock.
 */
import { parseArgs } from 'node:util';
import { openStorage } from '@kvent/key-value-storage/core';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { PostgresServer } from '../postgres/server.js';
import { workInProcesses } from './postgres-processes.js';
import { callers, Counter, counterKeys } from './postgres-work.js';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '1000' }, processes: { type: 'string', default: '2' } },
});
const [rounds, processes] = [Number(values.rounds), Number(values.processes)];
const expected = processes * callers * rounds;

// Shorter than the lock timeout of the storage: otherwise Postgres would never detect a deadlock.
await using server = await PostgresServer.create({ config: ["deadlock_timeout = '10ms'"] });
let startedAt = 0;
const reports = await workInProcesses(
  server.url(),
  'update',
  processes,
  rounds,
  () => (startedAt = performance.now()),
);
const seconds = (performance.now() - startedAt) / 1000;
await using storage = await openStorage(new PostgresProvider({ url: server.url() }));
const counts = (await storage.store(Counter).getMany(counterKeys)).map((entry) => entry?.value.count ?? 0);
const counted = counts.reduce((sum, count) => sum + count);
const deadlocks = (await server.log()).split('\n').filter((line) => line.includes(' 40P01 ERROR')).length;
const wrong = reports.flatMap((report) => report.wrong);

process.stdout.write(
  `${counted} of ${expected} increments in ${seconds.toFixed(1)} s (${Math.round(expected / seconds)} a second), ${deadlocks} deadlocks\n${wrong.join('\n')}`,
);
process.exitCode = counted === expected && deadlocks === 0 && wrong.length === 0 ? 0 : 1;
