/**
 * A machine: a simulated disk, a clock that runs when everybody waits, and the processes that open
 * the JSON file on it.
 */
import { setImmediate } from 'node:timers/promises';
import type { StorageProvider } from '../../libs/key-value-storage/src/core.js';
import { ManualClock } from '../../libs/key-value-storage/src/testing/kit/manual-clock.js';
import { jsonFileOn } from './json-file-on.js';
import { SimulatedDisk } from './simulated-disk.js';

/**
 * Turns without any call to the disk, after which everybody is taken to wait for the time: a call
 * takes three at most, and who looks again waits one.
 */
const idleTurns = 8;
const tickMs = 250;
/**
 * After a power cut the next process waits 3 s for the beat of the last one, which is looking at
 * the lock again and again: most of all calls there would be. `json-file-takeover.spec.ts` plays
 * that wait step by step; here one machine in so many waits, and the others know that they were
 * booted.
 */
const patientOneIn = 8;

export interface RunningProcess {
  readonly provider: StorageProvider;
  readonly pid: number;
  readonly warnings: readonly string[];
  /** Its calls change nothing any more; nobody tells the disk. */
  kill(): void;
}

export class Machine {
  readonly disk: SimulatedDisk;
  readonly clock: ManualClock;
  readonly directory = '/data';
  readonly #boot: string;
  readonly #knowsBoots: boolean;
  readonly #openJournalsMax: number;
  #pid = 100;
  readonly #alive = new Set<number>();

  constructor(
    disk = new SimulatedDisk(),
    { boot = 'boot 1', knowsBoots = false, clock = new ManualClock(), openJournalsMax = 100 } = {},
  ) {
    this.disk = disk;
    this.#boot = boot;
    this.#knowsBoots = knowsBoots;
    this.#openJournalsMax = openJournalsMax;
    this.clock = clock;
  }

  /**
   * The machine when the power is back: the disk has what it kept, no process runs, and some time
   * has passed.
   */
  afterPowerCut(seed: number): Machine {
    return new Machine(this.disk.afterPowerCut(seed), {
      boot: `${this.#boot}+`,
      knowsBoots: seed % patientOneIn !== 0,
      clock: new ManualClock(this.clock.now() + 60_000),
    });
  }

  /** A new process, with a provider that is not open yet. */
  start({
    clock = this.clock,
    ...options
  }: { readonly lockTimeoutMs?: number; readonly clock?: ManualClock } = {}): RunningProcess {
    const pid = (this.#pid += 1);
    this.#alive.add(pid);
    const { fileSystem, kill } = this.disk.process();
    const warnings: string[] = [];
    const provider = jsonFileOn({
      ...options,
      directory: this.directory,
      fileSystem,
      clock,
      boot: this.#boot,
      knowsBoots: this.#knowsBoots,
      openJournalsMax: this.#openJournalsMax,
      pid,
      isAlive: (other) => this.#alive.has(other),
      warn: (message) => warnings.push(message),
    });
    return {
      provider,
      pid,
      warnings,
      kill: () => {
        this.#alive.delete(pid);
        kill();
      },
    };
  }

  /** Lets time pass whenever nothing else happens, until this is settled. */
  async until<T>(work: Promise<T>): Promise<T> {
    let settled = false;
    const end = (): void => {
      settled = true;
    };
    work.then(end, end);
    for (let idle = 0, calls = this.disk.trace.length; !settled;) {
      await setImmediate();
      idle = this.disk.trace.length === calls ? idle + 1 : 0;
      calls = this.disk.trace.length;
      if (idle < idleTurns) continue;
      idle = 0;
      await this.clock.advance(tickMs);
    }
    return await work;
  }
}
