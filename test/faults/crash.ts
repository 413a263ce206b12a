/**
 * `npm run crash -- --rounds N [--seed S] [--lanes L]`: kills a real process while it writes, N
 * times.
 */
import { parseArgs } from 'node:util';
import { crashRounds } from './crash-rounds.js';
import { seedOfScript } from '../seed.mjs';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '200' },
    seed: { type: 'string' },
    lanes: { type: 'string', default: '2' },
  },
});
const seed = seedOfScript(values.seed);
const startedAt = performance.now();
console.log(`${values.rounds} rounds, --seed ${seed}`);
try {
  const { rounds, acknowledged, killedOpening, slowestOpenMs } = await crashRounds({
    rounds: Number(values.rounds),
    lanes: Number(values.lanes),
    seed,
    keep: true,
    onRound: (report) => {
      if (report.rounds % 20 === 0)
        console.log(`${report.rounds} rounds, ${report.acknowledged} acknowledged writes, all stored`);
    },
  });
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
  console.log(
    `${rounds} rounds in ${seconds} s: ${acknowledged} acknowledged writes, none lost, no incomplete batch. ` +
      `${killedOpening} were killed while they opened; the slowest opening took ${slowestOpenMs.toFixed(0)} ms.`,
  );
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
