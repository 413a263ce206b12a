/**
 * The lock on the simulated disk: a paused owner (its clock stands still) is robbed by a second
 * process. At every step of the takeover the owner wakes up and writes, or the power goes, or the
 * robber is killed. What the owner acknowledges its successor has found; what it could not make
 * sure of is `STORAGE_OUTCOME_UNKNOWN`; afterwards it answers nothing, and harms nothing.
 */
import { describe, expect, it } from '@jest/globals';
import { isStorageError } from '../../libs/key-value-storage/src/core.js';
import { ManualClock } from '../../libs/key-value-storage/src/testing/kit/manual-clock.js';
import { exported } from './history.js';
import { Machine, type RunningProcess } from './machine.js';
import { Scenario } from './scenario.js';
import { seededRandom, seedOfRun, withSeed } from './seeded-random.js';
import { SimulatedDisk } from './simulated-disk.js';

const runSeed = seedOfRun();

/** A clock that may sleep through its own timers: time has passed, and nobody was woken. */
class SleepyClock extends ManualClock {
  #slept = 0;

  sleep(ms: number): void {
    this.#slept += ms;
  }
  override now(): number {
    return super.now() + this.#slept;
  }
  override monotonic(): number {
    return super.monotonic() + this.#slept;
  }
}

interface Pair {
  readonly machine: Machine;
  /** The owner, whose clock stands still; the same histories are those of the robber. */
  readonly owner: Scenario;
  readonly ownerClock: SleepyClock;
}

/** An owner that has written something, and sleeps. */
async function sleepingOwner(seed: number): Promise<Pair> {
  const machine = new Machine(new SimulatedDisk(seed));
  const owner = new Scenario(machine, seed);
  const ownerClock = new SleepyClock(machine.clock.now());
  await owner.open(machine.start({ clock: ownerClock }), ownerClock);
  await owner.commit('shared');
  await owner.commit('tenant:a');
  return { machine, owner, ownerClock };
}

const everything = (process: RunningProcess): readonly (() => Promise<unknown>)[] => {
  const address = { database: 'shared', container: 'state:fault', entity: 'rows', key: 'chain' };
  const { provider } = process;
  return [
    () => provider.read([address]),
    () => provider.scan([{ ...address, limit: 3 }]),
    () => provider.sweep(3),
    () => provider.administration.databases(),
    () => provider.administration.spaces('shared'),
    () => exported(provider, 'shared'),
    () => provider.administration.drop('shared'),
    () => provider.administration.import('shared', []),
  ];
};

describe(`the lock of the JSON file (KVENT_SEED=${runSeed})`, () => {
  it('is respected while its owner beats: refused after the timeout, by name', async () => {
    const machine = new Machine(new SimulatedDisk(runSeed));
    const owner = new Scenario(machine, runSeed);
    await owner.open();
    const before = machine.clock.monotonic();
    const second = machine.start();
    const error: unknown = await machine.until(second.provider.open()).catch((reason: unknown) => reason);
    expect(isStorageError(error, 'STORAGE_LOCKED')).toBe(true);
    expect((error as Error).message).toContain(String(owner.process.pid));
    expect(machine.clock.monotonic() - before).toBeGreaterThanOrEqual(5_000);
    await owner.commit('shared');
    await owner.look();
    await owner.close();
  });

  it('is taken over when its owner does not beat for 3 s; the owner answers nothing any more', async () => {
    const { machine, owner, ownerClock } = await sleepingOwner(runSeed);
    const before = machine.clock.monotonic();
    // with a history of its own: what the owner tries once it was robbed must not be there
    const robber = owner.on(machine, runSeed + 1);
    await robber.open();
    expect(machine.clock.monotonic() - before).toBeGreaterThanOrEqual(3_000);
    await robber.commit('shared');
    await owner.commit('shared');
    expect(owner.failed).toBe(1);
    for (const ask of everything(owner.process)) {
      await expect(machine.until(ask())).rejects.toMatchObject({ code: 'STORAGE_LOCKED', effect: 'none' });
    }
    await ownerClock.advance(10_000);
    await owner.close().catch(() => undefined);
    await robber.commit('shared');
    await robber.look();
    await robber.close();
    const after = robber.on(machine.afterPowerCut(runSeed), 1);
    await after.open();
    await after.close();
  });

  it('is noticed to be gone by reading, too, and before anything is answered from memory', async () => {
    for (const index of everything({} as RunningProcess).keys()) {
      const { machine, owner, ownerClock } = await sleepingOwner(runSeed + index);
      const robber = new Scenario(machine, runSeed + 1, owner.histories);
      await robber.open();
      await robber.commit('shared');
      // it wakes up: a timer comes late, and a call comes before the timer
      ownerClock.sleep(10_000);
      const asked = everything(owner.process)[index]?.();
      await machine.until(expect(asked).rejects.toMatchObject({ code: 'STORAGE_LOCKED', effect: 'none' }));
      await robber.look();
      await robber.close();
    }
  });

  it('never lets an owner acknowledge what its successor does not find, whenever it wakes up', async () => {
    await withSeed('owner wakes up', runSeed, async () => {
      for (let wake = 0, taken = false; !taken; wake += 1) {
        const seed = runSeed + wake;
        const random = seededRandom(seed);
        const { machine, owner, ownerClock } = await sleepingOwner(seed);
        const robber = new Scenario(machine, seed + 1, owner.histories);
        const calls = machine.disk.trace.length + wake;
        const opening = robber.open();
        opening.catch(() => undefined);
        const opened = { yet: false };
        opening.then(
          () => (opened.yet = true),
          () => (opened.yet = true),
        );
        while (machine.disk.trace.length < calls && !opened.yet) await new Promise(setImmediate);
        taken = opened.yet;
        // with its timers first, which then run beside its calls, or with its calls first
        if (random.chance(0.5)) await ownerClock.advance(1_000);
        await owner.group(['shared', 'tenant:a']);
        try {
          await opening;
        } catch (error) {
          // the owner was awake again in time
          if (!isStorageError(error, 'STORAGE_LOCKED')) throw error;
          continue;
        }
        // what the owner could not make sure of is there or not: that is now seen, and stays so
        await robber.settle();
        await robber.commit('shared');
        await robber.look();
        await owner.commit('tenant:a');
        await robber.settle();
        await robber.look();
        await robber.kill();
        await owner.abandon();
        const next = robber.on(machine.afterPowerCut(seed), seed);
        await next.open();
        await next.close();
      }
    });
  }, 300_000);

  it('can lose the power, or the robber its life, at every step of a takeover', async () => {
    await withSeed('takeover cut short', runSeed, async () => {
      for (let step = 0, taken = false; !taken; step += 1) {
        for (const end of ['power', 'kill'] as const) {
          const seed = runSeed + step;
          const { machine, owner } = await sleepingOwner(seed);
          const robber = new Scenario(machine, seed + 1, owner.histories);
          const goal = machine.disk.steps + step;
          if (end === 'power') machine.disk.cutPowerAfter(step);
          const started = machine.start();
          const opening = robber.attempt(() => robber.open(started));
          const opened = { yet: false };
          void opening.finally(() => (opened.yet = true));
          while (end === 'kill' && machine.disk.steps < goal && !opened.yet) await new Promise(setImmediate);
          if (end === 'kill') started.kill();
          await opening.catch(() => undefined);
          taken = opened.yet && machine.disk.steps < goal;
          const next =
            end === 'power'
              ? robber.on(machine.afterPowerCut(seed), seed)
              : new Scenario(machine, seed + 2, owner.histories);
          await next.open();
          await next.commit('shared');
          await next.look();
          await next.close();
          await owner.abandon();
          await robber.abandon();
        }
      }
    });
  }, 300_000);
});
