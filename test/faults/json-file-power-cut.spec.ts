/**
 * The power is cut after every single step of lives of the JSON file (commits, groups, compaction,
 * opening, recovery after a kill, dropping), the disk forgets what was not synced, and the next
 * process opens what is left: every acknowledged write, no half batch, nothing that an answer
 * rested on gone. Then again while that process recovers, and again. Each of three lives takes
 * every third step, together they take all, and `npm run soak` takes all in each.
 */
import { describe, expect, it } from '@jest/globals';
import { Machine } from './machine.js';
import { Scenario } from './scenario.js';
import { seededRandom, seedOfRun, soaking, withSeed } from './seeded-random.js';
import { sweep } from './sweep.js';
import { SimulatedDisk } from './simulated-disk.js';

const runSeed = seedOfRun();

/** A life until its step `steps`, at which the power goes. */
async function lived(
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

const stepsOfLife = async (seed: number): Promise<number> =>
  (await lived(seed, Number.POSITIVE_INFINITY)).machine.disk.steps;

/** Says where a life was when what follows went wrong. */
async function at<T>(where: string, machine: Machine, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Error)
      error.message = `${where}\n${error.message}\nthe last calls:\n  ${machine.disk.trace.slice(-12).join('\n  ')}`;
    throw error;
  }
}

/**
 * Opens what a power cut left, commits, and loses the power once more: what was read is there
 * still.
 */
async function survives(scenario: Scenario, machine: Machine, seed: number): Promise<void> {
  const next = scenario.on(machine.afterPowerCut(seed), seed);
  await next.open();
  if (seed % 3 > 0) await next.commit('shared');
  const last = next.on(next.machine.afterPowerCut(seed + 1), seed + 1);
  await last.open();
  await last.look();
}

describe(`the JSON file when the power is cut (KVENT_SEED=${runSeed})`, () => {
  it('lives the life that is cut, without a failure', async () => {
    const { scenario, machine } = await lived(runSeed, Number.POSITIVE_INFINITY);
    expect(scenario.failed).toBe(0);
    const compactions = machine.disk.trace.filter(
      (call) => call.startsWith('rename') && call.includes('snapshot'),
    );
    expect(compactions.length).toBeGreaterThan(2);
    expect(machine.disk.steps).toBeGreaterThan(100);
  });

  it.each([0, 1, 2])(
    'holds what was acknowledged when the power goes after any step, life %i',
    async (life) => {
      const seed = runSeed + life * 1_000_003;
      await withSeed('power cut', runSeed, async () => {
        const steps = await stepsOfLife(seed);
        for (const step of sweep(3, runSeed, { end: steps + 1, shift: life })) {
          const { machine, scenario } = await lived(seed, step);
          for (let cut = 0; cut < 4; cut += 1) {
            await at(`life ${life}, cut after step ${step} of ${steps}, forgetting ${cut}`, machine, () =>
              survives(scenario, machine, seed + step * 31 + cut),
            );
          }
        }
      });
    },
  );

  it('holds it when the power goes again and again while the next processes recover', async () => {
    const random = seededRandom(runSeed);
    await withSeed('power cut while recovering', runSeed, async () => {
      const steps = await stepsOfLife(runSeed);
      for (let step = random.below(4); step <= steps; step += 1 + random.below(4)) {
        let { machine, scenario } = await lived(runSeed, step);
        for (let cut = 0; cut < 6; cut += 1) {
          const seed = random.below(2 ** 31);
          const recovering = scenario.on(machine.afterPowerCut(seed), seed);
          recovering.machine.disk.cutPowerAfter(random.below(25));
          await at(`cut after step ${step}, recovery ${cut}`, recovering.machine, () =>
            recovering.attempt(() => recovering.open()),
          );
          await recovering.abandon();
          ({ machine, scenario } = { machine: recovering.machine, scenario: recovering });
        }
        await at(`cut after step ${step}, at last`, machine, () =>
          survives(scenario, machine, random.below(2 ** 31)),
        );
      }
    });
  });

  it('holds it after every single step of a recovery', async () => {
    const random = seededRandom(runSeed + 1);
    await withSeed('power cut while recovering', runSeed, async () => {
      const steps = await stepsOfLife(runSeed);
      for (let round = 0; round < (soaking ? 24 : 6); round += 1) {
        const { machine, scenario } = await lived(runSeed, random.below(steps));
        const seed = random.below(2 ** 31);
        for (let step = 0, done = false; !done; step += 1) {
          const recovering = scenario.on(machine.afterPowerCut(seed), seed);
          recovering.machine.disk.cutPowerAfter(step);
          await at(`recovery cut after step ${step}`, recovering.machine, () =>
            recovering.attempt(() => recovering.open()),
          );
          done = recovering.machine.disk.powered;
          await recovering.abandon();
          await at(`recovery cut after step ${step}, at last`, recovering.machine, () =>
            survives(recovering, recovering.machine, seed + step),
          );
        }
      }
    });
  });

  it.each(['sync', 'syncDirectory'] as const)('notices when the provider leaves out %s', async (skip) => {
    const steps = await stepsOfLife(runSeed);
    let noticed = 0;
    for (let step = 20; step <= steps; step += 5) {
      const { machine, scenario } = await lived(runSeed, step, skip);
      await survives(scenario, machine, runSeed + step).catch(() => (noticed += 1));
    }
    expect(noticed).toBeGreaterThan(3);
  });
});
