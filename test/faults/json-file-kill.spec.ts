/** `kill -9` of a real process, two hundred times; `npm run crash -- --rounds N` for any number. */
import { describe, expect, it } from '@jest/globals';
import { crashRounds } from './crash-rounds.js';
import { seedOfRun } from './seeded-random.js';

describe('the JSON file, its process killed while 64 callers write', () => {
  it('holds every acknowledged write and no half batch, 200 times in a row', async () => {
    const report = await crashRounds({ rounds: 200, seed: seedOfRun() });
    expect(report.rounds).toBe(200);
    expect(report.acknowledged).toBeGreaterThan(10_000);
    expect(report.killedOpening).toBeLessThan(100);
  }, 300_000);
});
