/**
 * `npm run feed-soak -- [--appends N] [--seed S]`: a reader and a projection follow the feed of a
 * real Postgres while two processes append, with slow transactions and rollbacks at random. Fails
 * if an event is missing, comes twice, or is out of the order of its stream.
 */
import { parseArgs } from 'node:util';
import { PostgresServer } from '../postgres/server.js';
import { seedOfScript } from '../seed.mjs';
import { followFeed } from './feed-follower.js';
import { seededRandom } from './seeded-random.js';

const { values } = parseArgs({
  options: { appends: { type: 'string', default: '100000' }, seed: { type: 'string' } },
});
const print = (line: string): void => void process.stdout.write(`${line}\n`);
const seed = seedOfScript(values.seed);
const startedAt = performance.now();
print(`${values.appends} appends, --seed ${seed}`);
await using server = await PostgresServer.create();
const options = { appends: Number(values.appends), random: seededRandom(seed) };
const { faults, ...report } = await followFeed(server.url(), options, (read) => print(`${read} events`));
const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
print(`${seconds} s\n${JSON.stringify(report)}\n${JSON.stringify(faults)}`);
process.exitCode = Object.values(faults).every((count) => count === 0) ? 0 : 1;
