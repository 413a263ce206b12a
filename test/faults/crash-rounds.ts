/**
 * Rounds of murder: a child process writes with 64 callers and is killed with `kill -9` at a random
 * moment, while it opens, too. Then a fresh provider opens the directory (sometimes only after a
 * second child did, and was killed as well): every acknowledged write is there, no half batch, and
 * what an opened provider answered stays true. The next round goes on in the same directory.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { JsonFileProvider } from '../../libs/key-value-storage/src/providers/json-file/json-file-provider.js';
import { compileChildren } from './compiled-child.js';
import { inspect, judge, nothingKnown, settle, type Known } from './crash-workload.js';
import { seededRandom, type Random } from './seeded-random.js';

export interface CrashOptions {
  readonly rounds: number;
  readonly seed: number;
  /** How many directories are worked on at once. @default 2 */
  readonly lanes?: number;
  /** Leaves a directory in which something was lost, for whoever looks into it. @default false */
  readonly keep?: boolean;
  readonly onRound?: (report: CrashReport) => void;
}

export interface CrashReport {
  readonly rounds: number;
  readonly acknowledged: number;
  /** Rounds whose child was killed before it had opened the directory. */
  readonly killedOpening: number;
  readonly slowestOpenMs: number;
}

/** Plays the rounds; rejects with what was lost. */
export async function crashRounds({
  rounds,
  seed,
  lanes = 2,
  keep = false,
  onRound,
}: CrashOptions): Promise<CrashReport> {
  await using compiled = await compileChildren();
  const report = { rounds: 0, acknowledged: 0, killedOpening: 0, slowestOpenMs: 0 };
  const stop = { failed: false };
  const lane = async (number: number): Promise<void> => {
    const directory = await mkdtemp(join(tmpdir(), 'kvent-crash-'));
    const victim = new Victim(
      compiled.path('crash-child.js'),
      join(directory, 'data'),
      seededRandom(seed + number),
    );
    try {
      while (report.rounds < rounds && !stop.failed) {
        report.rounds += 1;
        const outcome = await victim.round(report.rounds > rounds - lanes);
        report.acknowledged += outcome.acknowledged;
        report.killedOpening += outcome.found ? 0 : 1;
        report.slowestOpenMs = Math.max(report.slowestOpenMs, outcome.openMs);
        onRound?.(report);
      }
    } catch (error) {
      stop.failed = true;
      const where = keep ? `, left for you in ${directory}` : '';
      throw new Error(
        `After ${report.rounds} rounds, with --seed ${seed}${where}: ${(error as Error).message}`,
        { cause: error },
      );
    } finally {
      if (!keep || !stop.failed) await rm(directory, { recursive: true, force: true });
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: lanes }, (_, number) => lane(number)));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
  return report;
}

/** A process that writes nothing any more fails the test; a busy machine does not. */
const patienceMs = 120_000;

/** A directory, and what is known to be in it. */
class Victim {
  readonly #script: string;
  readonly #directory: string;
  readonly #random: Random;
  #known: Known = nothingKnown();

  constructor(script: string, directory: string, random: Random) {
    this.#script = script;
    this.#directory = directory;
    this.#random = random;
  }

  async round(last: boolean): Promise<{ acknowledged: number; found: boolean; openMs: number }> {
    const child = spawn(process.execPath, [this.#script, this.#directory, String(this.#known.dropping)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const outcome = await this.#watch(child);
    // One in four is not looked at: the next child opens what this one left.
    const openMs = last || !this.#random.chance(0.25) ? await this.#inspect() : 0;
    return { ...outcome, openMs };
  }

  /**
   * Notes what the child says, and kills it: a while after it was started, or after some number of
   * acknowledgements. The first comes early, mostly while it opens; nothing is expected of what it
   * has done by then.
   */
  async #watch(child: ChildProcess): Promise<{ acknowledged: number; found: boolean }> {
    const kill = (): void => void child.kill('SIGKILL');
    const enough = this.#random.chance(0.8)
      ? 1 + this.#random.below(this.#random.pick([10, 300, 2_000]))
      : Number.POSITIVE_INFINITY;
    let silent = false;
    const giveUp = (): void => {
      silent = true;
      kill();
    };
    const timer =
      enough === Number.POSITIVE_INFINITY
        ? setTimeout(kill, 40 + this.#random.below(160))
        : setTimeout(giveUp, patienceMs);
    const exited = once(child, 'close');
    let errors = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (errors += text));
    let acknowledged = 0;
    let found = false;
    let wrong: Error | undefined;
    for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
      try {
        if (line.startsWith('found ')) {
          found = true;
          this.#learn(JSON.parse(line.slice(6)) as Known, 'the next process');
        } else if (line.startsWith('wrong '))
          throw new Error(`The process complains before it is killed: ${line.slice(6)}`);
        else acknowledged += this.#acknowledge(line);
      } catch (error) {
        wrong ??= error as Error;
      }
      if (acknowledged >= enough || wrong !== undefined) kill();
    }
    const [, signal] = (await exited) as [number | null, NodeJS.Signals | null];
    clearTimeout(timer);
    if (wrong !== undefined) throw wrong;
    if (silent)
      throw new Error(
        `The process has acknowledged ${acknowledged} of ${enough} writes within ${patienceMs} ms: ${errors}`,
      );
    if (signal !== 'SIGKILL') throw new Error(`The process ended by itself: ${errors}`);
    return { acknowledged, found };
  }

  #acknowledge(line: string): number {
    const [what, first, second] = line.split(' ');
    if (what === 'caller') this.#known.callers[Number(first)] = Number(second);
    else if (what === 'group')
      this.#known.groups[Number(first)] = Math.max(
        this.#known.groups[Number(first)] as number,
        Number(second),
      );
    else if (what === 'dropping') this.#known.dropping = Number(first);
    else if (line !== '') throw new Error(`The process says ${line}`);
    return 1;
  }

  async #inspect(): Promise<number> {
    const startedAt = performance.now();
    const provider = new JsonFileProvider({ directory: this.#directory });
    await provider.open();
    const openMs = performance.now() - startedAt;
    try {
      this.#learn(await inspect(provider), 'afterwards');
    } finally {
      await provider.close();
    }
    return openMs;
  }

  #learn(found: Known, when: string): void {
    const wrong = judge(this.#known, found);
    if (wrong.length > 0) throw new Error(`Seen by ${when}:\n${wrong.join('\n')}`);
    this.#known = settle(this.#known, found);
  }
}
