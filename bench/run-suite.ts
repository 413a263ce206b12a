/**
 * Opens all contenders of a suite, checks that they store what they should, and measures one work
 * after the other.
 */
import { isDeepStrictEqual } from 'node:util';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Contender, Operation, Contention, Traits } from './contender.js';
import type { DatabaseServer } from './database-server.js';
import { diskOf } from './machine.js';
import { measure } from './measure.js';
import { keysOf, product } from './product.js';
import { summarize, type Summary } from './statistics.js';
import { titleOf, type Suite, type Work } from './suite.js';

export interface Row extends Summary {
  readonly contender: string;
  /** For works with contended keys: repeated attempts per update. */
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
  /** Number of events of the long streams. */
  readonly longEvents: number;
  /** Length of a measuring window, instead of the suite's own. */
  readonly ms: number | undefined;
  /** Only works whose title contains this. */
  readonly only: string;
  /** An empty folder; each contender gets a folder in it. */
  readonly directory: string;
  /** The server of this run. */
  readonly server: () => Promise<DatabaseServer>;
  readonly onServer: (description: string) => void;
  readonly onWork: (result: WorkResult, contenders: SuiteResult['contenders']) => void;
}

const msDefault = 200;

export async function runSuite(suite: Suite, options: RunOptions): Promise<SuiteResult> {
  const server = suite.onPostgres === true ? await options.server() : undefined;
  if (server?.directory !== undefined) diskOf(server.directory);
  if (server !== undefined) options.onServer(server.description);
  const result = await runAll(suite, options, server);
  return server === undefined ? result : { ...result, server: server.description };
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
        ...(await setupOf(options.directory, index, server, schemas)),
        filled: false,
      });
      contenders.push(contender);
      await assertStoresProduct(contender);
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

/** A folder for one contender, and a schema if there is a server. */
async function setupOf(
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
  const participants = contenders.filter(({ verbs }) => verbs[work.verb] !== undefined);
  const before = participants.map(({ contention }) => ({ done: 0, repeated: 0, ...contention }));
  const operations = participants.map(({ verbs }) => verbs[work.verb] as Operation);
  const measured = await measure(operations, { callers: work.callers, ms }, rounds);
  const reference = measured[participants.findIndex(({ name }) => name === work.reference)] ?? [];
  const rows = participants.map(({ name, contention }, index): Row => {
    const row = { contender: name, ...summarize(measured[index] ?? [], reference) };
    const { done, repeated } = before[index] as Contention;
    if (contention === undefined || contention.done === done) return row;
    return { ...row, conflictsPerCall: (contention.repeated - repeated) / (contention.done - done) };
  });
  return { ...work, rows };
}

/** A contender that stores nothing must not be measured. */
async function assertStoresProduct({ name, verbs, traits }: Contender): Promise<void> {
  await verbs.set?.(0);
  if (verbs.get === undefined) return;
  const result: unknown = await verbs.get(0);
  const stored =
    traits.returns === 'text' ? result : ((result as { readonly value?: unknown }).value ?? result);
  if (traits.returns !== 'text' && !isDeepStrictEqual({ ...(stored as object) }, product))
    throw new Error(`${name} does not return what was stored.`);
}
