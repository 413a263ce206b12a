/** What `kvent init` reads of a Nest application. */
import { join } from 'node:path';
import { NotPlainFile, openPlainFile } from '../input/plain-file.js';
import { UsageError } from '../input/usage-error.js';

export interface Application {
  readonly folder: string;
  /** The text of `package.json`. */
  readonly manifestText: string;
  readonly manifest: Manifest;
  readonly nestMajor: number;
  readonly modules: 'esm' | 'commonjs';
  readonly testRunner: 'jest' | 'vitest' | undefined;
  readonly packageManager: PackageManager;
  /** The folder of the sources, from the folder of the application. */
  readonly sourceRoot: string;
}

interface Manifest {
  readonly type?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly jest?: JestSettings;
}
export interface JestSettings {
  readonly transformIgnorePatterns?: readonly string[];
}

type PackageManager = 'npm' | 'pnpm' | 'yarn' | 'bun';
const lockFiles: readonly (readonly [string, PackageManager])[] = [
  ['pnpm-lock.yaml', 'pnpm'],
  ['yarn.lock', 'yarn'],
  ['bun.lock', 'bun'],
  ['bun.lockb', 'bun'],
];
const nestMajorMin = 11;

/** `UsageError` if the folder holds no application of Nest 11 or newer. */
export async function readApplication(folder: string): Promise<Application> {
  const manifestText = await textOf(join(folder, 'package.json'));
  if (manifestText === undefined)
    throw new UsageError(
      `${folder} has no package.json. Call kvent init in the folder of a Nest application; to make one: npx @nestjs/cli new my-app`,
    );
  const manifest = parsed<Manifest>('package.json', manifestText);
  const range = manifest.dependencies?.['@nestjs/common'];
  const nestMajor = Number(/\d+/.exec(range ?? '')?.[0] ?? Number.NaN);
  if (range === undefined)
    throw new UsageError(`${folder} is no Nest application: its dependencies lack @nestjs/common.`);
  if (nestMajor < nestMajorMin)
    throw new UsageError(`Kvent needs Nest ${nestMajorMin} or newer; package.json has ${range}.`);
  const nestCli = parsed<{ readonly sourceRoot?: string }>(
    'nest-cli.json',
    (await textOf(join(folder, 'nest-cli.json'))) ?? '{}',
  );
  const packages = { ...manifest.devDependencies, ...manifest.dependencies };
  return {
    folder,
    manifestText,
    manifest,
    nestMajor,
    modules: manifest.type === 'module' ? 'esm' : 'commonjs',
    testRunner: 'vitest' in packages ? 'vitest' : 'jest' in packages ? 'jest' : undefined,
    packageManager: await packageManagerOf(folder),
    sourceRoot: nestCli.sourceRoot ?? 'src',
  };
}

async function packageManagerOf(folder: string): Promise<PackageManager> {
  for (const [file, manager] of lockFiles)
    if ((await textOf(join(folder, file))) !== undefined) return manager;
  return 'npm';
}

/** `UsageError` for a file that is no JSON. */
export function parsed<T>(name: string, text: string): T {
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new UsageError(`${name} must be JSON: ${(error as Error).message}`, error);
  }
}

/** The text of a file; `undefined` if there is none. `UsageError` for a FIFO or a directory. */
export async function textOf(path: string): Promise<string | undefined> {
  try {
    await using file = await openPlainFile(path);
    return await file.readFile('utf8');
  } catch (error) {
    if (error instanceof NotPlainFile) throw new UsageError(`${path} must be a plain file.`, error);
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
