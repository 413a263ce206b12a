/**
 * The power is cut after every step of a run of the JSON file (commits, groups, compaction,
 * opening, recovery, dropping), the disk forgets what was not synced, and the next process opens
 * the rest. It must find every acknowledged write, no incomplete batch, and every row that was read
 * before. Then the power is cut again while that process recovers. Each of three runs takes every
 * third step; `npm run soak` takes all.
 */
import { describe, expect, it } from '@jest/globals';
import { Machine } from './machine.js';
import { Scenario } from './scenario.js';
import { seededRandom, seedOfRun, isSoak, withSeed } from './seeded-random.js';
import { sweep } from './sweep.js';
import { SimulatedDisk } from './simulated-disk.js';

const runSeed = seedOfRun();
const runs = [0, 1, 2] as const;
const seedOf = (run: number): number => runSeed + run * 1_000_003;

/** Runs the workload until the power is cut after `steps` steps. */
async function runUntilCut(
  seed: number,
  steps: number,
  skip?: 'sync' | 'syncDirectory',
): Promise<{ machine: Machine; scenario: Scenario }> {
  const machine = new Machine(new SimulatedDisk(seed));
  const scenario = new Scenario(machine, seed);
  machine.disk.cutPowerAfter(steps);
  if (skip !== undefined) machine.disk.skip(skip);
  await scenario.play();
  return { machine, scenario };
}

const stepsOfRun = async (seed: number): Promise<number> =>
  (await runUntilCut(seed, Number.POSITIVE_INFINITY)).machine.disk.steps;

/** Adds the position to a failure. */
async function describing<T>(where: string, machine: Machine, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Error)
      error.message = `${where}\n${error.message}\nthe last calls:\n  ${machine.disk.trace.slice(-12).join('\n  ')}`;
    throw error;
  }
}

/**
 * Opens the machine after a power cut, commits, and cuts the power again: all rows that were read
 * are still stored.
 */
async function assertSurvives(scenario: Scenario, machine: Machine, seed: number): Promise<void> {
  const next = scenario.on(machine.afterPowerCut(seed), seed);
  await next.open();
  if (seed % 3 > 0) await next.commit('shared');
  const last = next.on(next.machine.afterPowerCut(seed + 1), seed + 1);
  await last.open();
  await last.verify();
}

describe(`the JSON file when the power is cut (KVENT_SEED=${runSeed})`, () => {
  it('runs the workloads without a failure if the power stays on', async () => {
    let compactions = 0;
    for (const run of runs) {
      const { scenario, machine } = await runUntilCut(seedOf(run), Number.POSITIVE_INFINITY);
      expect(scenario.failed).toBe(0);
      expect(machine.disk.steps).toBeGreaterThan(100);
      compactions += machine.disk.trace.filter(
        (call) => call.startsWith('rename') && call.includes('snapshot'),
      ).length;
    }
    // one workload has two to six of them
    expect(compactions).toBeGreaterThan(5);
  });

  it.each(runs)('has every acknowledged write if the power is cut after any step, run %i', async (run) => {
    const seed = seedOf(run);
    await withSeed('power cut', runSeed, async () => {
      const steps = await stepsOfRun(seed);
      for (const step of sweep(3, runSeed, { end: steps + 1, shift: run })) {
        const { machine, scenario } = await runUntilCut(seed, step);
        for (let cut = 0; cut < 4; cut += 1) {
          await describing(`run ${run}, cut after step ${step} of ${steps}, variant ${cut}`, machine, () =>
            assertSurvives(scenario, machine, seed + step * 31 + cut),
          );
        }
      }
    });
  });

  it('has it if the power is cut repeatedly while the next processes recover', async () => {
    const random = seededRandom(runSeed);
    await withSeed('power cut while recovering', runSeed, async () => {
      const steps = await stepsOfRun(runSeed);
      for (let step = random.below(4); step <= steps; step += 1 + random.below(4)) {
        let { machine, scenario } = await runUntilCut(runSeed, step);
        for (let cut = 0; cut < 6; cut += 1) {
          const seed = random.below(2 ** 31);
          const recovering = scenario.on(machine.afterPowerCut(seed), seed);
          recovering.machine.disk.cutPowerAfter(random.below(25));
          await describing(`cut after step ${step}, recovery ${cut}`, recovering.machine, () =>
            recovering.attempt(() => recovering.open()),
          );
          await recovering.abandon();
          ({ machine, scenario } = { machine: recovering.machine, scenario: recovering });
        }
        await describing(`cut after step ${step}, finally`, machine, () =>
          assertSurvives(scenario, machine, random.below(2 ** 31)),
        );
      }
    });
  });

  it('has it if the power is cut after every step of a recovery', async () => {
    const random = seededRandom(runSeed + 1);
    await withSeed('power cut while recovering', runSeed, async () => {
      const steps = await stepsOfRun(runSeed);
      for (let round = 0; round < (isSoak ? 24 : 6); round += 1) {
        const { machine, scenario } = await runUntilCut(runSeed, random.below(steps));
        const seed = random.below(2 ** 31);
        for (let step = 0, done = false; !done; step += 1) {
          const recovering = scenario.on(machine.afterPowerCut(seed), seed);
          recovering.machine.disk.cutPowerAfter(step);
          await describing(`recovery cut after step ${step}`, recovering.machine, () =>
            recovering.attempt(() => recovering.open()),
          );
          done = recovering.machine.disk.powered;
          await recovering.abandon();
          await describing(`recovery cut after step ${step}, finally`, recovering.machine, () =>
            assertSurvives(recovering, recovering.machine, seed + step),
          );
        }
      }
    });
  });

  it.each(['sync', 'syncDirectory'] as const)('fails if the provider omits %s', async (skip) => {
    const steps = await stepsOfRun(runSeed);
    let noticed = 0;
    for (let step = 20; step <= steps; step += 5) {
      const { machine, scenario } = await runUntilCut(runSeed, step, skip);
      await assertSurvives(scenario, machine, runSeed + step).catch(() => (noticed += 1));
    }
    expect(noticed).toBeGreaterThan(3);
  });
});
