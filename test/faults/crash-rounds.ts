/**
 * A child process writes with 64 callers and is killed with `kill -9` at a random moment, also
 * while it opens. Then a new provider opens the directory (sometimes after a second child was
 * killed as well) and checks: every acknowledged write is stored, no batch is incomplete, and every
 * former result is still true. The next round continues in the same directory.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { JsonFileProvider } from '../../libs/key-value-storage/src/providers/json-file/json-file-provider.js';
import { childProgram } from './child-program.js';
import { inspect, differences, noProgress, progressAfter, type Progress } from './crash-workload.js';
import { seededRandom, type Random } from './seeded-random.js';

export interface CrashOptions {
  readonly rounds: number;
  readonly seed: number;
  /** The number of directories that are tested concurrently. @default 2 */
  readonly lanes?: number;
  /** Keeps the directory of a failure for inspection. @default false */
  readonly keep?: boolean;
  readonly onRound?: (report: CrashReport) => void;
}

export interface CrashReport {
  readonly rounds: number;
  readonly acknowledged: number;
  /** Rounds whose child was killed before the directory was open. */
  readonly killedOpening: number;
  readonly slowestOpenMs: number;
}

/** Runs the rounds. Rejects with the first fault. */
export async function crashRounds({
  rounds,
  seed,
  lanes = 2,
  keep = false,
  onRound,
}: CrashOptions): Promise<CrashReport> {
  const report = { rounds: 0, acknowledged: 0, killedOpening: 0, slowestOpenMs: 0 };
  const stop = { failed: false };
  const lane = async (number: number): Promise<void> => {
    const directory = await mkdtemp(join(tmpdir(), 'kvent-crash-'));
    const target = new CrashTarget(
      childProgram('crash-child.ts'),
      join(directory, 'data'),
      seededRandom(seed + number),
    );
    try {
      while (report.rounds < rounds && !stop.failed) {
        report.rounds += 1;
        const outcome = await target.round(report.rounds > rounds - lanes);
        report.acknowledged += outcome.acknowledged;
        report.killedOpening += outcome.found ? 0 : 1;
        report.slowestOpenMs = Math.max(report.slowestOpenMs, outcome.openMs);
        onRound?.(report);
      }
    } catch (error) {
      stop.failed = true;
      const where = keep ? `, kept in ${directory}` : '';
      throw new Error(
        `After ${report.rounds} rounds, with --seed ${seed}${where}: ${(error as Error).message}`,
        { cause: error },
      );
    } finally {
      if (!keep || !stop.failed) await rm(directory, { recursive: true, force: true });
    }
  };
  const results = await Promise.allSettled(Array.from({ length: lanes }, (_, number) => lane(number)));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
  return report;
}

/** Fails the test if a process stops writing. Long, so that a busy machine does not. */
const stallTimeoutMs = 120_000;

/** A directory, and the progress that it must contain. */
class CrashTarget {
  readonly #script: string;
  readonly #directory: string;
  readonly #random: Random;
  #progress: Progress = noProgress();

  constructor(script: string, directory: string, random: Random) {
    this.#script = script;
    this.#directory = directory;
    this.#random = random;
  }

  async round(last: boolean): Promise<{ acknowledged: number; found: boolean; openMs: number }> {
    const child = spawn(process.execPath, [this.#script, this.#directory, String(this.#progress.dropping)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const outcome = await this.#watch(child);
    // One in four is not inspected: then the next child is the first to open it.
    const openMs = last || !this.#random.chance(0.25) ? await this.#inspect() : 0;
    return { ...outcome, openMs };
  }

  /**
   * Records the output of the child and kills it, either after a short time, mostly while it opens,
   * or after a number of acknowledgements.
   */
  async #watch(child: ChildProcess): Promise<{ acknowledged: number; found: boolean }> {
    const kill = (): void => void child.kill('SIGKILL');
    const enough = this.#random.chance(0.8)
      ? 1 + this.#random.below(this.#random.pick([10, 300, 2_000]))
      : Number.POSITIVE_INFINITY;
    let stalled = false;
    const stopStalled = (): void => {
      stalled = true;
      kill();
    };
    const timer =
      enough === Number.POSITIVE_INFINITY
        ? setTimeout(kill, 40 + this.#random.below(160))
        : setTimeout(stopStalled, stallTimeoutMs);
    const exited = once(child, 'close');
    let errors = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (errors += text));
    let acknowledged = 0;
    let found = false;
    let failure: Error | undefined;
    for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
      try {
        if (line.startsWith('found ')) {
          found = true;
          this.#verify(JSON.parse(line.slice(6)) as Progress, 'the next process');
        } else if (line.startsWith('wrong '))
          throw new Error(`The process reported a fault before it was killed: ${line.slice(6)}`);
        else acknowledged += this.#acknowledge(line);
      } catch (error) {
        failure ??= error as Error;
      }
      if (acknowledged >= enough || failure !== undefined) kill();
    }
    const [, signal] = (await exited) as [number | null, NodeJS.Signals | null];
    clearTimeout(timer);
    if (failure !== undefined) throw failure;
    if (stalled)
      throw new Error(
        `The process acknowledged ${acknowledged} of ${enough} writes within ${stallTimeoutMs} ms: ${errors}`,
      );
    if (signal !== 'SIGKILL') throw new Error(`The process ended without the kill: ${errors}`);
    return { acknowledged, found };
  }

  #acknowledge(line: string): number {
    const [what, first, second] = line.split(' ');
    if (what === 'caller') this.#progress.callers[Number(first)] = Number(second);
    else if (what === 'group')
      this.#progress.groups[Number(first)] = Math.max(
        this.#progress.groups[Number(first)] as number,
        Number(second),
      );
    else if (what === 'dropping') this.#progress.dropping = Number(first);
    else if (line !== '') throw new Error(`Unexpected output: ${line}`);
    return 1;
  }

  async #inspect(): Promise<number> {
    const startedAt = performance.now();
    const provider = new JsonFileProvider({ directory: this.#directory });
    await provider.open();
    const openMs = performance.now() - startedAt;
    try {
      this.#verify(await inspect(provider), 'a new provider');
    } finally {
      await provider.close();
    }
    return openMs;
  }

  #verify(found: Progress, reader: string): void {
    const failure = differences(this.#progress, found);
    if (failure.length > 0) throw new Error(`Found by ${reader}:\n${failure.join('\n')}`);
    this.#progress = progressAfter(this.#progress, found);
  }
}
