/**
 * Every `ts` example of every page is compiled with the flags of this repository and run, and its
 * output is compared with its comments. See `example-programs.ts`.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { format, promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { isStorageError } from '@kvent/key-value-storage';
import '../nest-for-commonjs.js';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { readPrograms, type Program } from './example-programs.js';
import { root } from './pages.js';

const programs = readPrograms();
const folder = join(root, '.tmp', `docs-${process.pid}`);
const fileOf = (kind: 'source' | 'runnable', { name }: Program): string => join(folder, kind, `${name}.ts`);

/** Records what a running example prints and throws, by line. */
class Recorder {
  readonly lines = new Map<number, string[]>();

  print(line: number): (...args: readonly unknown[]) => void {
    return (...args) => this.#record(line, format(...args));
  }

  async throws(line: number, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!isStorageError(error)) throw error;
      return this.#record(line, `throws ${error.code}`);
    }
    this.#record(line, 'throws nothing');
  }

  #record(line: number, text: string): void {
    this.lines.set(line, [...(this.lines.get(line) ?? []), ...text.split('\n')]);
  }
}

const recorders = new Map(programs.map(({ name }) => [name, new Recorder()]));
Object.assign(globalThis, { kventExamples: recorders });
for (const kind of ['source', 'runnable'] as const) {
  mkdirSync(join(folder, kind), { recursive: true });
  for (const program of programs) writeFileSync(fileOf(kind, program), program[kind]);
}

const databases: FreshDatabase[] = [];
/** The database stays until the end of the run, because declared tests run later. */
async function provideDatabase({ needsDatabase }: Program): Promise<void> {
  delete process.env['DATABASE_URL'];
  if (!needsDatabase) return;
  const database = await freshDatabase();
  databases.push(database);
  process.env['DATABASE_URL'] = database.url;
}

/** Each example runs in a temporary folder, so `./data` is its own. */
const originalFolder = process.cwd();
const temporaryFolder = mkdtempSync(join(tmpdir(), 'kvent-docs-'));
function workIn(name: string): void {
  mkdirSync(join(temporaryFolder, name), { recursive: true });
  process.chdir(join(temporaryFolder, name));
}
beforeAll(() => workIn('tests'));
afterAll(async () => {
  process.chdir(originalFolder);
  for (const database of databases) await database[Symbol.asyncDispose]();
  rmSync(temporaryFolder, { recursive: true, force: true });
  rmSync(folder, { recursive: true, force: true });
});

describe('the examples', () => {
  it('compile', async () => {
    expect(await diagnose(programs.map((program) => fileOf('source', program)))).toEqual([]);
  });

  const examples = programs.filter(({ declaresTests }) => !declaresTests);
  it.each(examples.map((program) => [`${program.page} (${program.name})`, program] as const))(
    'run and print what their comments say: %s',
    async (_, program) => {
      workIn(program.name);
      await provideDatabase(program);
      await import(fileOf('runnable', program));
      expect(outputOf(program)).toEqual(expectedOf(program));
    },
  );
});

// These programs declare their tests while they are loaded.
for (const program of programs.filter(({ declaresTests }) => declaresTests)) {
  const failure = await loadingFailure(program);
  it(`the tests of ${program.page} are declared, and print what their comments say`, () => {
    expect(failure).toBeUndefined();
    expect(outputOf(program)).toEqual(expectedOf(program));
  });
}

async function loadingFailure(program: Program): Promise<unknown> {
  try {
    await provideDatabase(program);
    await import(fileOf('runnable', program));
    return undefined;
  } catch (error) {
    return error;
  }
}

function outputOf({ name }: Program): readonly string[] {
  return listed(recorders.get(name)?.lines ?? new Map<number, string[]>());
}

function expectedOf({ expected }: Program): readonly string[] {
  return listed(expected);
}

function listed(lines: ReadonlyMap<number, readonly string[]>): readonly string[] {
  return [...lines]
    .sort(([one], [other]) => one - other)
    .map(([line, texts]) => `line ${line}: ${texts.join(' | ')}`);
}

/** What the compiler says of these files: it prints one line for each error, and more below it. */
async function diagnose(files: readonly string[]): Promise<readonly string[]> {
  const tsconfig = join(folder, 'tsconfig.json');
  const compilerOptions = { noEmit: true, incremental: false, tsBuildInfoFile: null };
  writeFileSync(
    tsconfig,
    JSON.stringify({ extends: join(root, 'tsconfig.json'), compilerOptions, include: [], files }),
  );
  const tsc = join(root, 'node_modules/typescript-7/bin/tsc');
  return await promisify(execFile)(process.execPath, [tsc, '-p', tsconfig, '--pretty', 'false'], {
    cwd: folder,
  }).then(
    () => [],
    ({ stdout, message }: Error & { readonly stdout?: string }) =>
      (stdout === undefined || stdout === '' ? message : stdout).trim().split('\n'),
  );
}
