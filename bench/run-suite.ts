/** Opens everybody of a suite, sees that they do what they are measured at, and measures each work in turn. */
import { isDeepStrictEqual } from 'node:util';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Contender, Operation, Traits } from './contender.js';
import { measure } from './measure.js';
import { keysOf, product } from './product.js';
import { summarize, type Summary } from './statistics.js';
import type { Suite, Work } from './suite.js';

export interface Row extends Summary {
  readonly contender: string;
}
export interface WorkResult extends Work {
  readonly rows: readonly Row[];
}
export interface SuiteResult {
  readonly suite: string;
  readonly ours: string;
  readonly contenders: readonly ({ readonly name: string } & Traits)[];
  readonly works: readonly WorkResult[];
}

export interface RunOptions {
  readonly rounds: number;
  readonly ms: number;
  /** Empty; everybody gets a folder in it. */
  readonly directory: string;
  readonly onWork: (result: WorkResult, contenders: SuiteResult['contenders']) => void;
}

export async function runSuite(suite: Suite, options: RunOptions): Promise<SuiteResult> {
  const keys = keysOf(suite.keys);
  const contenders: Contender[] = [];
  try {
    for (const [index, open] of suite.openings.entries()) {
      const directory = join(options.directory, String(index));
      mkdirSync(directory, { recursive: true });
      const contender = await open({ keys, directory, filled: false });
      contenders.push(contender);
      await assertStores(contender);
    }
    const described = contenders.map(({ name, traits }) => ({ name, ...traits }));
    const works: WorkResult[] = [];
    for (const work of suite.works) {
      const result = await runWork(work, contenders, options);
      options.onWork(result, described);
      works.push(result);
    }
    return { suite: suite.name, ours: suite.ours, contenders: described, works };
  } finally {
    for (const contender of contenders) await contender.close?.();
  }
}

async function runWork(work: Work, contenders: readonly Contender[], { rounds, ms }: RunOptions): Promise<WorkResult> {
  const taking = contenders.filter(({ verbs }) => verbs[work.verb] !== undefined);
  const operations = taking.map(({ verbs }) => verbs[work.verb] as Operation);
  const measured = await measure(operations, { callers: work.callers, ms }, rounds);
  const reference = measured[taking.findIndex(({ name }) => name === work.reference)] ?? [];
  return { ...work, rows: taking.map(({ name }, index) => ({ contender: name, ...summarize(measured[index] ?? [], reference) })) };
}

/** What is fast because it does nothing is not measured. */
async function assertStores({ name, verbs, traits }: Contender): Promise<void> {
  await verbs.set?.(0);
  if (verbs.get === undefined) return;
  const answer: unknown = await verbs.get(0);
  const seen = traits.answers === 'text' ? answer : ((answer as { readonly value?: unknown }).value ?? answer);
  if (traits.answers !== 'text' && !isDeepStrictEqual(seen, product)) throw new Error(`${name} does not answer what was stored.`);
}
