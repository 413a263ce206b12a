/**
 * A simulated machine: a disk, a clock that advances while all processes wait, and processes that
 * open the JSON file.
 */
import { setImmediate } from 'node:timers/promises';
import type { StorageProvider } from '../../libs/key-value-storage/src/core.js';
import { ManualClock } from '../../libs/key-value-storage/src/testing/kit/manual-clock.js';
import { jsonFileOn } from './json-file-on.js';
import { SimulatedDisk } from './simulated-disk.js';

/**
 * After so many turns of the event loop without a disk call, all processes wait for a timer: a call
 * takes at most three turns.
 */
const idleTurns = 8;
const tickMs = 250;
/**
 * After a power cut the next process waits 3 s for a heartbeat of the former owner, and reads the
 * lock repeatedly, which would be most of all calls. `json-file-takeover.spec.ts` covers that wait
 * step by step. Here one machine in eight waits, and the others detect the reboot.
 */
const waitOneIn = 8;

export interface RunningProcess {
  readonly provider: StorageProvider;
  readonly pid: number;
  readonly warnings: readonly string[];
  /** From now on its calls change nothing. The disk is not informed. */
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
  readonly #running = new Set<number>();

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
   * The machine after a power cut: the disk has what it kept, no process runs, and time has passed.
   */
  afterPowerCut(seed: number): Machine {
    return new Machine(this.disk.afterPowerCut(seed), {
      boot: `${this.#boot}+`,
      knowsBoots: seed % waitOneIn !== 0,
      clock: new ManualClock(this.clock.now() + 60_000),
    });
  }

  /** Starts a process, whose provider is not open yet. */
  start({
    clock = this.clock,
    ...options
  }: { readonly lockTimeoutMs?: number; readonly clock?: ManualClock } = {}): RunningProcess {
    const pid = (this.#pid += 1);
    this.#running.add(pid);
    const { fileSystem, kill } = this.disk.process();
    const warnings: string[] = [];
    const provider = jsonFileOn({
      ...options,
      directory: this.directory,
      fileSystem,
      clock,
      boot: this.#boot,
      detectsReboots: this.#knowsBoots,
      openJournalsMax: this.#openJournalsMax,
      pid,
      isAlive: (other) => this.#running.has(other),
      warn: (message) => warnings.push(message),
    });
    return {
      provider,
      pid,
      warnings,
      kill: () => {
        this.#running.delete(pid);
        kill();
      },
    };
  }

  /** Advances the clock whenever all processes wait, until the work is settled. */
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
