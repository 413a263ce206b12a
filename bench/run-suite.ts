/**
 * Opens everybody of a suite, sees that they do what they are measured at, and measures each work
 * in turn.
 */
import { isDeepStrictEqual } from 'node:util';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Contender, Operation, Rivalry, Traits } from './contender.js';
import type { DatabaseServer } from './database-server.js';
import { diskOf } from './machine.js';
import { measure } from './measure.js';
import { keysOf, product } from './product.js';
import { summarize, type Summary } from './statistics.js';
import { titleOf, type Suite, type Work } from './suite.js';

export interface Row extends Summary {
  readonly contender: string;
  /** Of works that many want to do to one key: how often an update had to begin again. */
  readonly conflictsPerCall?: number;
}
export interface WorkResult extends Work {
  readonly rows: readonly Row[];
}
export interface SuiteResult {
  readonly suite: string;
  readonly ours: readonly string[];
  readonly server?: string;
  readonly contenders: readonly ({ readonly name: string } & Traits)[];
  readonly works: readonly WorkResult[];
}

export interface RunOptions {
  readonly rounds: number;
  /** Of the streams that are long. */
  readonly longEvents: number;
  /** Of a turn, instead of the suite's own. */
  readonly ms: number | undefined;
  /** Only works whose name holds this. */
  readonly only: string;
  /** Empty; everybody gets a folder in it. */
  readonly directory: string;
  readonly onServer: (description: string) => void;
  readonly onWork: (result: WorkResult, contenders: SuiteResult['contenders']) => void;
}

const msDefault = 200;

export async function runSuite(suite: Suite, options: RunOptions): Promise<SuiteResult> {
  const server = await suite.server?.(options.directory);
  try {
    if (server?.directory !== undefined) diskOf(server.directory);
    if (server !== undefined) options.onServer(server.description);
    const result = await runAll(suite, options, server);
    return server === undefined ? result : { ...result, server: server.description };
  } finally {
    await server?.close();
  }
}

async function runAll(
  suite: Suite,
  options: RunOptions,
  server: DatabaseServer | undefined,
): Promise<SuiteResult> {
  const keys = keysOf(suite.keys);
  const contenders: Contender[] = [];
  const schemas = suite.openings.map((_, index) => `kvent_bench_${process.pid}_${index}`);
  try {
    for (const [index, open] of suite.openings.entries()) {
      const contender = await open({
        keys,
        longEvents: options.longEvents,
        ...(await placeOf(options.directory, index, server, schemas)),
        filled: false,
      });
      contenders.push(contender);
      await assertStores(contender);
    }
    await server?.settle();
    const described = contenders.map(({ name, traits }) => ({ name, ...traits }));
    const works: WorkResult[] = [];
    for (const work of suite.works.filter((each) => titleOf(each).includes(options.only))) {
      const result = await runWork(work, contenders, {
        ms: options.ms ?? suite.ms ?? msDefault,
        rounds: options.rounds,
      });
      options.onWork(result, described);
      works.push(result);
    }
    for (const { verify } of contenders) await verify?.();
    return { suite: suite.name, ours: suite.ours, contenders: described, works };
  } finally {
    for (const contender of contenders) await contender.close?.();
    for (const schema of schemas) await server?.drop(schema);
  }
}

/** A folder of its own for each, and a schema of the server. */
async function placeOf(
  directory: string,
  index: number,
  server: DatabaseServer | undefined,
  schemas: readonly string[],
) {
  const own = join(directory, String(index));
  mkdirSync(own, { recursive: true });
  if (server === undefined) return { directory: own };
  const schema = schemas[index] as string;
  await server.create(schema);
  return { directory: own, database: { url: server.url, schema } };
}

async function runWork(
  work: Work,
  contenders: readonly Contender[],
  { rounds, ms }: { readonly rounds: number; readonly ms: number },
): Promise<WorkResult> {
  const taking = contenders.filter(({ verbs }) => verbs[work.verb] !== undefined);
  const before = taking.map(({ rivalry }) => ({ done: 0, again: 0, ...rivalry }));
  const operations = taking.map(({ verbs }) => verbs[work.verb] as Operation);
  const measured = await measure(operations, { callers: work.callers, ms }, rounds);
  const reference = measured[taking.findIndex(({ name }) => name === work.reference)] ?? [];
  const rows = taking.map(({ name, rivalry }, index): Row => {
    const row = { contender: name, ...summarize(measured[index] ?? [], reference) };
    const { done, again } = before[index] as Rivalry;
    if (rivalry === undefined || rivalry.done === done) return row;
    return { ...row, conflictsPerCall: (rivalry.again - again) / (rivalry.done - done) };
  });
  return { ...work, rows };
}

/** What is fast because it does nothing is not measured. */
async function assertStores({ name, verbs, traits }: Contender): Promise<void> {
  await verbs.set?.(0);
  if (verbs.get === undefined) return;
  const answer: unknown = await verbs.get(0);
  const seen =
    traits.answers === 'text' ? answer : ((answer as { readonly value?: unknown }).value ?? answer);
  if (traits.answers !== 'text' && !isDeepStrictEqual({ ...(seen as object) }, product))
    throw new Error(`${name} does not answer what was stored.`);
}
