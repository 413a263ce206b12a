/**
 * An application of somebody else: a folder of its own far from this repository, with what npm
 * installs there.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { transform } from '@swc/core';

const run = promisify(execFile);
export const root = join(import.meta.dirname, '..', '..');
const fixtures = join(import.meta.dirname, 'fixtures');

/**
 * What the compilers of Nest's own scaffolds are told, and stricter: the types of all packages are
 * checked too.
 */
const compilerOptions = {
  module: 'nodenext',
  moduleResolution: 'nodenext',
  target: 'es2023',
  lib: ['es2023', 'esnext.disposable'],
  types: ['node'],
  strict: true,
  esModuleInterop: true,
  isolatedModules: true,
  experimentalDecorators: true,
  emitDecoratorMetadata: true,
  skipLibCheck: false,
  rootDir: '.',
  outDir: 'dist',
};

export class ScratchApp implements AsyncDisposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /**
   * Installs the packages from the registry that npm is set to. `peers: 'leave out'`: npm adds no
   * peer that is not named.
   */
  static async install(packages: readonly string[], peers: 'add' | 'leave out' = 'add'): Promise<ScratchApp> {
    const app = new ScratchApp(await mkdtemp(join(tmpdir(), 'kvent-app-')));
    await app.write('package.json', { private: true });
    const flags = [
      '--no-audit',
      '--no-fund',
      '--prefer-offline',
      '--ignore-scripts',
      ...(peers === 'add' ? [] : ['--legacy-peer-deps']),
    ];
    try {
      await run('npm', ['install', ...flags, ...packages], { cwd: app.folder });
    } catch (error) {
      await app[Symbol.asyncDispose]();
      throw new Error(`npm could not install ${packages.join(' ')}: this test needs the registry.`, {
        cause: error,
      });
    }
    return app;
  }

  async write(path: string, content: string | object): Promise<void> {
    const target = join(this.folder, path);
    await mkdir(join(target, '..'), { recursive: true });
    await writeFile(target, typeof content === 'string' ? content : JSON.stringify(content, undefined, 2));
  }

  /**
   * Puts the first program of a README into a folder, under a name, and beside it one of the
   * fixtures, which starts it.
   */
  async writeProgram(
    folder: string,
    type: 'module' | 'commonjs',
    fixture: string,
    readme = 'README.md',
    name = 'program',
  ): Promise<void> {
    await this.write(`${folder}/package.json`, { private: true, type });
    await this.write(`${folder}/${name}.ts`, await firstProgram(readme));
    await cp(join(fixtures, fixture), join(this.folder, folder, fixture));
  }

  /**
   * Compiles a folder into its `dist`; a complaint of the compiler is an error with what it said.
   */
  async compile(folder: string): Promise<void> {
    await this.write(`${folder}/tsconfig.json`, { compilerOptions, include: ['*.ts'] });
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    await run(process.execPath, [tsc, '-p', '.'], { cwd: join(this.folder, folder) }).catch(
      (error: unknown) => {
        throw new Error(`tsc: ${(error as { readonly stdout?: string }).stdout ?? String(error)}`);
      },
    );
  }

  /**
   * The same by SWC, as `nest start --builder swc` does: one file at a time, which knows no types.
   */
  async compileWithSwc(folder: string, files: readonly string[]): Promise<void> {
    for (const file of files) {
      const { code } = await transform(await readFile(join(this.folder, folder, file), 'utf8'), {
        swcrc: false,
        jsc: {
          target: 'es2023',
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true },
        },
        module: { type: 'commonjs' },
      });
      await this.write(`${folder}/dist/${file.replace(/\.ts$/, '.js')}`, code);
    }
  }

  /** What a program prints. It runs in `folder`, where its data are. */
  async run(
    folder: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv = {},
  ): Promise<{ readonly stdout: string; readonly stderr: string }> {
    const environment = { ...process.env, ...env };
    delete environment['NODE_OPTIONS'];
    return await run(process.execPath, args, { cwd: join(this.folder, folder), env: environment });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** As the README shows it. */
async function firstProgram(readme: string): Promise<string> {
  const program = /```ts\n([^]*?)```/.exec(await readFile(join(root, readme), 'utf8'))?.[1];
  if (program === undefined) throw new Error(`${readme} shows no program.`);
  return program;
}
