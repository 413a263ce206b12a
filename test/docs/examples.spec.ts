/**
 * Every `ts` example of every page is compiled with the flags of this repository, run, and compared
 * with what it says it prints. See `example-programs.ts`.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { format } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { isStorageError } from '@kvent/key-value-storage';
import ts from 'typescript';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { readPrograms, type Program } from './example-programs.js';
import { root } from './pages.js';

const programs = readPrograms();
const folder = join(root, '.tmp', `docs-${process.pid}`);
const fileOf = (kind: 'source' | 'runnable', { name }: Program): string => join(folder, kind, `${name}.ts`);

/** What a running example prints and throws, line by line. */
class Recorder {
  readonly heard = new Map<number, string[]>();

  print(line: number): (...given: readonly unknown[]) => void {
    return (...given) => this.#hear(line, format(...given));
  }

  async throws(line: number, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!isStorageError(error)) throw error;
      return this.#hear(line, `throws ${error.code}`);
    }
    this.#hear(line, 'throws nothing');
  }

  #hear(line: number, text: string): void {
    this.heard.set(line, [...(this.heard.get(line) ?? []), ...text.split('\n')]);
  }
}

const recorders = new Map(programs.map(({ name }) => [name, new Recorder()]));
Object.assign(globalThis, { kventExamples: recorders });
for (const kind of ['source', 'runnable'] as const) {
  mkdirSync(join(folder, kind), { recursive: true });
  for (const program of programs) writeFileSync(fileOf(kind, program), program[kind]);
}

const databases: FreshDatabase[] = [];
/** Its tests run later, so it is there until the end of the run. */
async function giveDatabase({ needsDatabase }: Program): Promise<void> {
  delete process.env['DATABASE_URL'];
  if (!needsDatabase) return;
  const database = await freshDatabase();
  databases.push(database);
  process.env['DATABASE_URL'] = database.url;
}

/** `./data` of an example is a folder of its own, gone after the run. */
const home = process.cwd();
const workplace = mkdtempSync(join(tmpdir(), 'kvent-docs-'));
function workIn(name: string): void {
  mkdirSync(join(workplace, name), { recursive: true });
  process.chdir(join(workplace, name));
}
beforeAll(() => workIn('tests'));
afterAll(async () => {
  process.chdir(home);
  for (const database of databases) await database[Symbol.asyncDispose]();
  rmSync(workplace, { recursive: true, force: true });
  rmSync(folder, { recursive: true, force: true });
});

describe('the examples', () => {
  it('compile', () => {
    expect(diagnose(programs.map((program) => fileOf('source', program)))).toEqual([]);
  });

  const examples = programs.filter(({ declaresTests }) => !declaresTests);
  it.each(examples.map((program) => [`${program.page} (${program.name})`, program] as const))(
    'run, and print what they say: %s',
    async (_, program) => {
      workIn(program.name);
      await giveDatabase(program);
      await import(fileOf('runnable', program));
      expect(heardBy(program)).toEqual(said(program));
    },
  );
});

// these declare their tests while they are loaded
for (const program of programs.filter(({ declaresTests }) => declaresTests)) {
  const failure = await loadingFailure(program);
  it(`the tests of ${program.page} are declared, and print what they say`, () => {
    expect(failure).toBeUndefined();
    expect(heardBy(program)).toEqual(said(program));
  });
}

async function loadingFailure(program: Program): Promise<unknown> {
  try {
    await giveDatabase(program);
    await import(fileOf('runnable', program));
    return undefined;
  } catch (error) {
    return error;
  }
}

function heardBy({ name }: Program): readonly string[] {
  return listed(recorders.get(name)?.heard ?? new Map<number, string[]>());
}

function said({ expected }: Program): readonly string[] {
  return listed(expected);
}

function listed(lines: ReadonlyMap<number, readonly string[]>): readonly string[] {
  return [...lines]
    .sort(([one], [other]) => one - other)
    .map(([line, texts]) => `line ${line}: ${texts.join(' | ')}`);
}

function diagnose(files: readonly string[]): readonly string[] {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), (path) => ts.sys.readFile(path)) as {
    config: object;
  };
  const { tsBuildInfoFile: _, ...options } = ts.parseJsonConfigFileContent(
    { ...config, include: [], files: [] },
    ts.sys,
    root,
  ).options;
  const flags: ts.CompilerOptions = { ...options, noEmit: true, incremental: false };
  const host = { ...ts.createCompilerHost(flags), getCurrentDirectory: () => root };
  const program = ts.createProgram(files, flags, host);
  return files.flatMap((file) =>
    ts
      .getPreEmitDiagnostics(program, program.getSourceFile(file))
      .map(({ messageText, start = 0, file: at }) => {
        const line = at === undefined ? 0 : at.getLineAndCharacterOfPosition(start).line + 1;
        return `${relative(folder, file)}, line ${line} of its page: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
      }),
  );
}
