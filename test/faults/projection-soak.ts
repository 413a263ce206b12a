/**
 * `npm run projection-soak -- [--kills N] [--workers W] [--seed S]`: kills workers of a projection
 * at random while sales go on and the projection is rebuilt, on a real Postgres. `--shop` kills
 * whole shops that sell over HTTP instead (after `npm run build`).
 */
import { parseArgs } from 'node:util';
import { PostgresServer } from '../postgres/server.js';
import { seedOfScript } from '../seed.mjs';
import { killShops } from './kill-shops.js';
import { killWorkers } from './projections-work.js';
import { seededRandom } from './seeded-random.js';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '200' },
    workers: { type: 'string', default: '3' },
    shop: { type: 'boolean', default: false },
    seed: { type: 'string' },
  },
});
const print = (line: string): void => void process.stdout.write(`${line}\n`);
const seed = seedOfScript(values.seed);
const startedAt = performance.now();
print(`${values.kills} kills, --seed ${seed}`);
await using server = await PostgresServer.create();
const random = seededRandom(seed);
const [kills, workers] = [Number(values.kills), Number(values.workers)];
const report = values.shop
  ? await killShops(server.url(), { kills, random }, ({ kills, events }) =>
      print(`${kills} kills, ${events} orders: the sales are those of the orders, each has one mail`),
    )
  : await killWorkers(server.url(), { kills, workers, random }, ({ kills, events, builds }) =>
      print(`${kills} kills, ${builds} rebuilds, ${events} events: the totals are those of the streams`),
    );
const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
print(`${report.kills} kills in ${seconds} s: none of ${report.events} events missing or twice.`);
