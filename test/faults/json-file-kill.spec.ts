/** `kill -9` of a real process, a hundred times. `npm run crash -- --rounds N` does it N times. */
import { describe, expect, it } from '@jest/globals';
import { crashRounds } from './crash-rounds.js';
import { seedOfRun } from './seeded-random.js';

describe('the JSON file, if its process is killed while 64 callers write', () => {
  it('has every acknowledged write and no incomplete batch, 100 times in a row', async () => {
    const report = await crashRounds({ rounds: 100, seed: seedOfRun() });
    expect(report.rounds).toBe(100);
    expect(report.acknowledged).toBeGreaterThan(5_000);
    expect(report.killedOpening).toBeLessThan(50);
  });
});
