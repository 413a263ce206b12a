/**
 * A projection whose workers are real processes on one Postgres: killed at random moments, and
 * asleep while another one takes over. `npm run projection-soak` kills 200.
 */
import { expect, it } from '@jest/globals';
import { ProjectionRunner } from '@kvent/event-store';
import { freshDatabase } from '../postgres/databases.js';
import {
  compareTotals,
  killWorkers,
  openAt,
  runnerOptions,
  sell,
  totalsByProduct,
} from './projections-work.js';
import { isSoak, seededRandom, seedOfRun, withSeed } from './seeded-random.js';
import { StreamsProcess } from './streams-processes.js';

it('a projection has the totals of its streams, though its workers are killed, and it is rebuilt', async () => {
  await using database = await freshDatabase();
  const seed = seedOfRun();
  await withSeed('The totals are wrong', seed, async () => {
    const kills = isSoak ? 40 : 3;
    const report = await killWorkers(database.url, { kills, workers: 2, random: seededRandom(seed) });
    expect(report.events).toBeGreaterThan(kills);
    expect(report.builds).toBeGreaterThan(0);
  });
});

it('a worker that slept in the middle of a page is refused after another one has taken over', async () => {
  await using database = await freshDatabase();
  await using storage = await openAt(database.url);
  const random = seededRandom(1);
  await using worker = new StreamsProcess(database.url, 'project', 'asleep');
  expect(await worker.line()).toBe('running');
  await sell(storage, random, 40);
  expect(await worker.line()).toBe('folded');
  // the leases of the sleeping worker expire, and this process takes over
  const runner = new ProjectionRunner(storage, totalsByProduct(), runnerOptions);
  await runner.start();
  await runner.whenCaughtUp({ timeoutMs: 600_000 });
  expect(await compareTotals(storage, runner)).toBe(40);
  worker.signal('SIGCONT');
  worker.send('');
  expect(await worker.line()).toBe('caught up');
  expect(await compareTotals(storage, runner)).toBe(40);
  await sell(storage, random, 40);
  worker.send('');
  expect(await worker.line()).toBe('caught up');
  expect(await compareTotals(storage, runner)).toBe(80);
  await runner.stop();
});
