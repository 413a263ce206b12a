/**
 * What is done once in a run of tests, for all of Jest's workers: the first one that asks does it,
 * and the others get its answer. Answers and files lie in the folder of runs under the name of the
 * run, so whoever ends the run removes them, also those of a run that was killed.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRunning, self, type Identity } from '../postgres/processes.mjs';
import { currentRun, runsFolder } from '../postgres/runs.mjs';

type Answer<T> = { readonly done: T } | { readonly reason: string };

/**
 * `work` is told how to name a file that is to live as long as the run. Its answer has to survive
 * JSON; everybody rejects with its reason.
 */
export async function onceInRun<T>(
  name: string,
  work: (pathOf: (suffix: string) => string) => Promise<T>,
): Promise<T> {
  const run = currentRun();
  if (run === undefined) throw new Error('There is no run of tests: begin one by `npm run jest`.');
  const pathOf = (suffix: string): string => join(runsFolder, `${run}.${name}.${suffix}`);
  const answer = isFirst(pathOf('begun')) ? await perform(work, pathOf) : await wait<T>(pathOf);
  if ('reason' in answer) throw new Error(`${name}: ${answer.reason}`);
  return answer.done;
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
): Promise<Answer<T>> {
  const answer = await work(pathOf).then(
    (done): Answer<T> => ({ done }),
    (error: unknown): Answer<T> => ({ reason: String(error) }),
  );
  writeFileSync(pathOf('answer.new'), JSON.stringify(answer));
  renameSync(pathOf('answer.new'), pathOf('answer'));
  return answer;
}

async function wait<T>(pathOf: (suffix: string) => string): Promise<Answer<T>> {
  for (;;) {
    // looked at first: it may answer and end between the two looks
    const first = read<Identity>(pathOf('begun'));
    const gone = first !== undefined && !isRunning(first); // undefined: it is just writing its name
    const answer = read<Answer<T>>(pathOf('answer'));
    if (answer !== undefined) return answer;
    if (gone) return { reason: 'the process that was at it has died.' };
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
