/**
 * The lock on the simulated disk. A second process takes over from a paused owner, whose clock
 * stands still. At every step of the takeover the owner continues and writes, or the power is cut,
 * or the successor is killed. The successor finds what the owner acknowledged; a write whose result
 * the owner cannot know is `STORAGE_OUTCOME_UNKNOWN`; afterwards the owner returns nothing and
 * changes nothing.
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

/** A clock that can advance without its timers, as in a paused process. */
class PausableClock extends ManualClock {
  #pausedMs = 0;

  pause(ms: number): void {
    this.#pausedMs += ms;
  }
  override now(): number {
    return super.now() + this.#pausedMs;
  }
  override monotonic(): number {
    return super.monotonic() + this.#pausedMs;
  }
}

interface Pair {
  readonly machine: Machine;
  /** The owner, whose clock stands still. The successor shares its histories. */
  readonly owner: Scenario;
  readonly ownerClock: PausableClock;
}

/** An owner that has written and is paused. */
async function pausedOwner(seed: number): Promise<Pair> {
  const machine = new Machine(new SimulatedDisk(seed));
  const owner = new Scenario(machine, seed);
  const ownerClock = new PausableClock(machine.clock.now());
  await owner.open(machine.start({ clock: ownerClock }), ownerClock);
  await owner.commit('shared');
  await owner.commit('tenant:a');
  return { machine, owner, ownerClock };
}

const allCalls = (process: RunningProcess): readonly (() => Promise<unknown>)[] => {
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
  it('is respected while the owner sends heartbeats: opening is refused after the timeout, naming the owner', async () => {
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
    await owner.verify();
    await owner.close();
  });

  it('is taken over after 3 s without a heartbeat; the former owner refuses every call', async () => {
    const { machine, owner, ownerClock } = await pausedOwner(runSeed);
    const before = machine.clock.monotonic();
    // With its own history: what the owner writes after the takeover must not be stored.
    const successor = owner.on(machine, runSeed + 1);
    await successor.open();
    expect(machine.clock.monotonic() - before).toBeGreaterThanOrEqual(3_000);
    await successor.commit('shared');
    await owner.commit('shared');
    expect(owner.failed).toBe(1);
    for (const ask of allCalls(owner.process)) {
      await expect(machine.until(ask())).rejects.toMatchObject({ code: 'STORAGE_LOCKED', effect: 'none' });
    }
    await ownerClock.advance(10_000);
    await owner.close().catch(() => undefined);
    await successor.commit('shared');
    await successor.verify();
    await successor.close();
    const after = successor.on(machine.afterPowerCut(runSeed), 1);
    await after.open();
    await after.close();
  });

  it('is checked by reads too, before they return rows from memory', async () => {
    for (const index of allCalls({} as RunningProcess).keys()) {
      const { machine, owner, ownerClock } = await pausedOwner(runSeed + index);
      const successor = new Scenario(machine, runSeed + 1, owner.histories);
      await successor.open();
      await successor.commit('shared');
      // The owner continues: a call comes before the late timer.
      ownerClock.pause(10_000);
      const call = allCalls(owner.process)[index]?.();
      await machine.until(expect(call).rejects.toMatchObject({ code: 'STORAGE_LOCKED', effect: 'none' }));
      await successor.verify();
      await successor.close();
    }
  });

  it('never lets an owner acknowledge a write that its successor does not find, whenever it continues', async () => {
    await withSeed('the owner continues', runSeed, async () => {
      for (let wake = 0, taken = false; !taken; wake += 1) {
        const seed = runSeed + wake;
        const random = seededRandom(seed);
        const { machine, owner, ownerClock } = await pausedOwner(seed);
        const successor = new Scenario(machine, seed + 1, owner.histories);
        const calls = machine.disk.trace.length + wake;
        const opening = successor.open();
        opening.catch(() => undefined);
        const opened = { yet: false };
        opening.then(
          () => (opened.yet = true),
          () => (opened.yet = true),
        );
        while (machine.disk.trace.length < calls && !opened.yet) await new Promise(setImmediate);
        taken = opened.yet;
        // either its timers or its calls first
        if (random.chance(0.5)) await ownerClock.advance(1_000);
        await owner.group(['shared', 'tenant:a']);
        try {
          await opening;
        } catch (error) {
          // The owner continued in time.
          if (!isStorageError(error, 'STORAGE_LOCKED')) throw error;
          continue;
        }
        // A write in doubt is stored or not; from now on that must not change.
        await successor.settle();
        await successor.commit('shared');
        await successor.verify();
        await owner.commit('tenant:a');
        await successor.settle();
        await successor.verify();
        await successor.kill();
        await owner.abandon();
        const next = successor.on(machine.afterPowerCut(seed), seed);
        await next.open();
        await next.close();
      }
    });
  }, 300_000);

  it('survives a power cut or a kill of the successor at every step of a takeover', async () => {
    await withSeed('interrupted takeover', runSeed, async () => {
      for (let step = 0, taken = false; !taken; step += 1) {
        for (const end of ['power', 'kill'] as const) {
          const seed = runSeed + step;
          const { machine, owner } = await pausedOwner(seed);
          const successor = new Scenario(machine, seed + 1, owner.histories);
          const goal = machine.disk.steps + step;
          if (end === 'power') machine.disk.cutPowerAfter(step);
          const started = machine.start();
          const opening = successor.attempt(() => successor.open(started));
          const opened = { yet: false };
          void opening.finally(() => (opened.yet = true));
          while (end === 'kill' && machine.disk.steps < goal && !opened.yet) await new Promise(setImmediate);
          if (end === 'kill') started.kill();
          await opening.catch(() => undefined);
          taken = opened.yet && machine.disk.steps < goal;
          const next =
            end === 'power'
              ? successor.on(machine.afterPowerCut(seed), seed)
              : new Scenario(machine, seed + 2, owner.histories);
          await next.open();
          await next.commit('shared');
          await next.verify();
          await next.close();
          await owner.abandon();
          await successor.abandon();
        }
      }
    });
  }, 300_000);
});
