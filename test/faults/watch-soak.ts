/**
 * Two processes watch a thousand keys of a real Postgres while four write them: `npm run watch-soak
 * -- --rounds 5000`, writes of each of the eight callers of a process. Prints the items, and the
 * longest delay from the begin of a write to its item; fails if a last state was not shown.
 */
import { parseArgs } from 'node:util';
import { PostgresServer } from '../postgres/server.js';
import { workInProcesses } from './postgres-processes.js';

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '5000' } } });

await using server = await PostgresServer.create();
let startedAt = 0;
const begin = (): void => void (startedAt = performance.now());
const reports = await workInProcesses(server.url(), 'watchedFromFour', 6, Number(values.rounds), begin);
const seconds = (performance.now() - startedAt) / 1000;
const wrong = reports.flatMap((report) => report.wrong);
process.stdout.write(`${seconds.toFixed(1)} s\n`);
for (const { did } of reports) process.stdout.write(`${JSON.stringify(did)}\n`);
process.stdout.write(wrong.join('\n'));
process.exitCode = wrong.length === 0 ? 0 : 1;
