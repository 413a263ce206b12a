/**
 * Work that is done once in a run of tests, for all workers of Jest: the first caller does it, and
 * the others get its result. Results and files are in the folder of runs, named after the run, so
 * that they are removed with the run, also after it was killed.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRunning, self, type Identity } from '../postgres/processes.mjs';
import { currentRun, runsFolder } from '../postgres/runs.mjs';

type Outcome<T> = { readonly done: T } | { readonly reason: string };

/**
 * `work` gets a function that names files for the time of the run. Its result must survive JSON. If
 * it fails, every caller rejects with the reason.
 */
export async function onceInRun<T>(
  name: string,
  work: (pathOf: (suffix: string) => string) => Promise<T>,
): Promise<T> {
  const run = currentRun();
  if (run === undefined) throw new Error('There is no run of tests. Start one with `npm run jest`.');
  const pathOf = (suffix: string): string => join(runsFolder, `${run}.${name}.${suffix}`);
  const outcome = isFirst(pathOf('begun')) ? await perform(work, pathOf) : await wait<T>(pathOf);
  if ('reason' in outcome) throw new Error(`${name}: ${outcome.reason}`);
  return outcome.done;
}

function isFirst(begun: string): boolean {
  try {
    writeFileSync(begun, JSON.stringify(self()), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return false;
  }
}

async function perform<T>(
  work: (pathOf: (suffix: string) => string) => Promise<T>,
  pathOf: (suffix: string) => string,
): Promise<Outcome<T>> {
  const outcome = await work(pathOf).then(
    (done): Outcome<T> => ({ done }),
    (error: unknown): Outcome<T> => ({ reason: String(error) }),
  );
  writeFileSync(pathOf('answer.new'), JSON.stringify(outcome));
  renameSync(pathOf('answer.new'), pathOf('answer'));
  return outcome;
}

async function wait<T>(pathOf: (suffix: string) => string): Promise<Outcome<T>> {
  for (;;) {
    // Read first: the process may write its outcome and end between the two reads.
    const first = read<Identity>(pathOf('begun'));
    const hasEnded = first !== undefined && !isRunning(first); // undefined: not written yet
    const outcome = read<Outcome<T>>(pathOf('answer'));
    if (outcome !== undefined) return outcome;
    if (hasEnded) return { reason: 'the process that did this has ended.' };
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function read<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T;
  } catch {
    return undefined;
  }
}
