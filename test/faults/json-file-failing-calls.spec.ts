/**
 * The n-th call of a kind fails, for every n of a run of the JSON file: without its effect, with a
 * part of it, or with all of it. Frequent calls are sampled (`sweep.ts`). Acknowledged writes are
 * stored after a restart and after a power cut; no batch is incomplete; batches in doubt are
 * complete or absent; every failure has a code, and none is reported as a conflict.
 */
import { describe, expect, it } from '@jest/globals';
import { Machine } from './machine.js';
import { Scenario } from './scenario.js';
import { seedOfRun, isSoak, withSeed } from './seeded-random.js';
import { sweep } from './sweep.js';
import { SimulatedDisk, type Call, type Fault } from './simulated-disk.js';

const runSeed = seedOfRun();

/** Runs the workload with one failing call. Returns whether the call was reached. */
async function runWithFault(
  fault: Fault,
  seed: number,
): Promise<{ readonly struck: boolean; readonly failed: number }> {
  // One of the two databases is always closed while the other is in use.
  const machine = new Machine(new SimulatedDisk(seed), { openJournalsMax: 1 });
  const scenario = new Scenario(machine, seed);
  machine.disk.fail(fault);
  await scenario.play();
  const struck = scenario.failed > 0 || machine.disk.struck;
  for (const cut of [1, 2]) {
    const after = scenario.on(machine.afterPowerCut(seed + cut), seed);
    await after.open();
    await after.verify();
  }
  return { struck, failed: scenario.failed };
}

/** Of frequent calls, only one in so many fails per run. */
const oneIn: Partial<Record<Call, number>> = { write: 2, sync: 2, read: 5, open: 5, close: 5 };

/**
 * Fails every n-th call, or one in so many. Returns how many calls failed, and how many failures
 * were reported.
 */
async function failEach(fault: Omit<Fault, 'nth'>, every = 1): Promise<{ struck: number; noticed: number }> {
  const counts = { struck: 0, noticed: 0 };
  for (const before of sweep(every, runSeed)) {
    const nth = before + 1;
    const { struck, failed } = await withSeed(
      `${fault.call} number ${nth} fails, effect ${fault.effect ?? 'none'}`,
      runSeed,
      () => runWithFault({ ...fault, nth }, runSeed),
    );
    if (!struck) break;
    counts.struck += 1;
    counts.noticed += failed > 0 ? 1 : 0;
  }
  return counts;
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
    const { struck, noticed } = await failEach({ call, effect, code }, oneIn[call]);
    expect(struck).toBeGreaterThan(0);
    // Most failures must be reported; a sample has fewer.
    if (call === 'write' || call === 'sync') expect(noticed).toBeGreaterThan(struck / (isSoak ? 2 : 4));
  });

  it('writes of every shorter length', async () => {
    for (let bytes = 0; bytes < 300; bytes += 7) {
      await withSeed(`a write of ${bytes} bytes, then ENOSPC`, runSeed, () =>
        runWithFault(
          { call: 'write', nth: 12 + (bytes % 10), code: 'ENOSPC', effect: 'part', bytes },
          runSeed,
        ),
      );
    }
  });

  it('a disk that is full from the n-th write on', async () => {
    const { struck } = await failEach({ call: 'write', code: 'ENOSPC', lasting: true }, 3);
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
