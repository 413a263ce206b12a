/**
 * The n-th call of a kind fails, for every n over a whole life of the JSON file: without its
 * effect, with half of it, or with all of it. Of the calls that are many a run takes a part
 * (`sweep.ts`). Acknowledged writes are there after the process was started again, and after a
 * power cut at the end; no half batch; those in doubt are whole or absent; every failure has a
 * code, and none is called a conflict.
 */
import { describe, expect, it } from '@jest/globals';
import { Machine } from './machine.js';
import { Scenario } from './scenario.js';
import { seedOfRun, soaking, withSeed } from './seeded-random.js';
import { sweep } from './sweep.js';
import { SimulatedDisk, type Call, type Fault } from './simulated-disk.js';

const runSeed = seedOfRun();

/** A whole life in which one call fails; answers whether it came to that. */
async function livedWith(
  fault: Fault,
  seed: number,
): Promise<{ readonly struck: boolean; readonly failed: number }> {
  // one of the two databases rests while the other is written to
  const machine = new Machine(new SimulatedDisk(seed), { openJournalsMax: 1 });
  const scenario = new Scenario(machine, seed);
  machine.disk.fail(fault);
  await scenario.play();
  const struck = scenario.failed > 0 || machine.disk.struck;
  for (const cut of [1, 2]) {
    const after = scenario.on(machine.afterPowerCut(seed + cut), seed);
    await after.open();
    await after.look();
  }
  return { struck, failed: scenario.failed };
}

/**
 * How many calls of a kind there are for each one that fails in a run; of the others all do, for a
 * life has few.
 */
const oneIn: Partial<Record<Call, number>> = { write: 2, sync: 2, read: 5, open: 5, close: 5 };

/**
 * Every n there is, or one of so many; answers how many it took, and how many of them anybody
 * noticed.
 */
async function everyN(fault: Omit<Fault, 'nth'>, one = 1): Promise<{ struck: number; noticed: number }> {
  const seen = { struck: 0, noticed: 0 };
  for (const before of sweep(one, runSeed)) {
    const nth = before + 1;
    const { struck, failed } = await withSeed(
      `${fault.call} number ${nth} fails, effect ${fault.effect ?? 'none'}`,
      runSeed,
      () => livedWith({ ...fault, nth }, runSeed),
    );
    if (!struck) break;
    seen.struck += 1;
    seen.noticed += failed > 0 ? 1 : 0;
  }
  return seen;
}

describe(`the JSON file when a call fails (KVENT_SEED=${runSeed})`, () => {
  const cases: readonly (readonly [Call, Fault['effect'], Fault['code']])[] = [
    ['write', 'none', 'ENOSPC'],
    ['write', 'part', 'ENOSPC'],
    ['write', 'whole', 'EIO'],
    ['sync', 'none', 'EIO'],
    ['sync', 'whole', 'EIO'],
    ['syncDirectory', 'none', 'EIO'],
    ['syncDirectory', 'whole', 'EIO'],
    ['create', 'none', 'EMFILE'],
    ['create', 'whole', 'EIO'],
    ['rename', 'none', 'EIO'],
    ['rename', 'whole', 'EIO'],
    ['remove', 'none', 'EACCES'],
    ['remove', 'whole', 'EIO'],
    ['makeDirectory', 'none', 'ENOSPC'],
    ['removeDirectory', 'none', 'EIO'],
    ['close', 'whole', 'EIO'],
    ['open', 'none', 'EMFILE'],
    ['read', 'none', 'EIO'],
    ['list', 'none', 'EIO'],
    ['status', 'none', 'EIO'],
  ];

  it.each(cases)('the n-th %s, effect %s, %s', async (call, effect = 'none', code) => {
    const { struck, noticed } = await everyN({ call, effect, code }, oneIn[call]);
    expect(struck).toBeGreaterThan(0);
    // most of all of them; of every second one, as it happens to fall, a good part
    if (call === 'write' || call === 'sync') expect(noticed).toBeGreaterThan(struck / (soaking ? 2 : 4));
  });

  it('writes of every shorter length', async () => {
    for (let bytes = 0; bytes < 300; bytes += 7) {
      await withSeed(`a write of ${bytes} bytes, then ENOSPC`, runSeed, () =>
        livedWith({ call: 'write', nth: 12 + (bytes % 10), code: 'ENOSPC', effect: 'part', bytes }, runSeed),
      );
    }
  });

  it('a disk that is full from the n-th write on', async () => {
    const { struck } = await everyN({ call: 'write', code: 'ENOSPC', lasting: true }, 3);
    expect(struck).toBeGreaterThan(10);
  });

  it('reads and writes that transfer fewer bytes than asked', async () => {
    const machine = new Machine(new SimulatedDisk(runSeed));
    machine.disk.transferShort();
    const scenario = new Scenario(machine, runSeed);
    await withSeed('short transfers', runSeed, () => scenario.play());
    expect(scenario.failed).toBe(0);
  });
});
