/**
 * A projection whose workers are real processes on one Postgres: killed at random moments, and
 * asleep while another one takes over. `npm run projection-soak` kills 200. A reaction sleeps too.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { ProjectionRunner } from '@kvent/event-store';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { freshDatabase } from '../postgres/databases.js';
import {
  compareTotals,
  killWorkers,
  openAt,
  runnerOptions,
  sell,
  totalsByProduct,
} from './projections-work.js';
import {
  concurrency,
  deliveries,
  deliveriesIn,
  effectsIn,
  openParcels,
  sendParcels,
} from './reaction-work.js';
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
  try {
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
  } finally {
    await runner.stop();
  }
});

it('a reaction that slept in a handler begins no other after a takeover, its effect is a repetition, and its checkpoint is refused', async () => {
  await using database = await freshDatabase();
  const folder = await mkdtemp(join(tmpdir(), 'kvent-asleep-'));
  try {
    await using storage = await openParcels(new PostgresProvider({ url: database.url }));
    await sendParcels(storage, 3);
    await using worker = new StreamsProcess(database.url, 'react', folder, 'asleep');
    const [, , , id] = (await worker.line())?.split(' ') ?? [];
    // the lease of the sleeping worker expires, and this process takes over
    const runner = deliveries(storage, folder);
    try {
      await runner.start();
      await runner.whenCaughtUp({ timeoutMs: 600_000 });
      expect(effectsIn(folder)).toBe(24);
      const before = deliveriesIn(folder).length;
      worker.signal('SIGCONT');
      expect(await worker.line()).toBe(id);
      worker.send('');
      // those that it was about to begin when it was stopped
      let line = await worker.line();
      for (let others = 1; line !== 'caught up'; others += 1) {
        expect(others).toBeLessThan(concurrency);
        line = await worker.line();
      }
      const awake = deliveriesIn(folder).length;
      expect(awake - before).toBeLessThan(concurrency);
      // it takes over again, from the checkpoint of this process
      await runner.stop();
      await sendParcels(storage, 1, 3);
      worker.send('');
      expect(await worker.line()).toBe('caught up');
      const later = deliveriesIn(folder).slice(awake);
      expect(new Set(later.map(({ version }) => version))).toEqual(new Set([4]));
      expect(effectsIn(folder)).toBe(32);
    } finally {
      await runner.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
