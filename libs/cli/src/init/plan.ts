/** The changes of `kvent init`: computed completely, before the first file is written. */
import { join } from 'node:path';
import { storageError } from '@kvent/key-value-storage/internal/rows';
import { parsed, textOf, type Application, type JestSettings } from './application.js';
import { addShutdownHooks, addToModule, typeScriptOf, type Addition } from './edit-source.js';
import { exampleModule, exampleTest } from './example.js';

export interface FileChange {
  /** From the folder of the application, with `/`. */
  readonly path: string;
  /** `undefined`: a new file. */
  readonly before: string | undefined;
  readonly after: string;
}

interface InitPlan {
  readonly changes: readonly FileChange[];
  /** What the user must do by hand. */
  readonly notes: readonly string[];
}

interface InitOptions {
  readonly provider: ProviderName;
  readonly example: boolean;
}

export type ProviderName = keyof typeof providers;

interface ProviderLines {
  readonly packages: readonly string[];
  readonly names: readonly string[];
  readonly from: string;
  readonly created: string;
}

const stores = '@kvent/key-value-storage';
const providers = {
  'json-file': {
    packages: [],
    names: ['JsonFileProvider'],
    from: stores,
    created: "new JsonFileProvider({ directory: './data' })",
  },
  memory: { packages: [], names: ['MemoryProvider'], from: stores, created: 'new MemoryProvider()' },
  postgres: {
    packages: ['@kvent/key-value-postgres', 'pg', 'typeorm'],
    names: ['PostgresProvider'],
    from: '@kvent/key-value-postgres',
    created: 'new PostgresProvider({ url: process.env.DATABASE_URL })',
  },
} as const satisfies Record<string, ProviderLines>;
export const providerNames = Object.keys(providers) as readonly ProviderName[];

/** Directories of `node_modules` that Jest must compile under CommonJS. */
const jestPattern = '/node_modules/(?!@kvent/)';

/** `versions` are those of the packages, by name. */
export async function planInit(
  app: Application,
  { provider, example }: InitOptions,
  versions: Readonly<Record<string, string>>,
): Promise<InitPlan> {
  const notes: string[] = [];
  const files = [
    ...(await sourceFiles(app, providers[provider], example, notes)),
    manifestFile(app, [stores, ...providers[provider].packages], versions, notes),
    await endToEndTests(app, notes),
    provider === 'json-file' ? await ignoreFile(app) : undefined,
    ...(example ? await exampleFiles(app) : []),
  ];
  const changes = files.filter((file) => file !== undefined).filter(({ before, after }) => before !== after);
  return { changes, notes };
}

async function sourceFiles(
  app: Application,
  { names, from, created }: ProviderLines,
  example: boolean,
  notes: string[],
): Promise<readonly FileChange[]> {
  const ts = typeScriptOf(app.folder);
  const path = `${app.sourceRoot}/app.module.ts`;
  const text = await textOf(join(app.folder, path));
  if (text === undefined) throw missingFile(path);
  const module = from === stores ? [...names, 'KeyValueStorageModule'] : ['KeyValueStorageModule'];
  const additions: Addition[] = [
    {
      name: 'KeyValueStorageModule.forRoot',
      statements: [...(from === stores ? [] : [{ names, from }]), { names: module, from: stores }],
      element: ['KeyValueStorageModule.forRoot({', `  provider: () => ${created},`, '})'],
    },
  ];
  if (example)
    additions.push({
      name: 'CatalogModule',
      statements: [{ names: ['CatalogModule'], from: `./catalog.module${extensionOf(app)}` }],
      element: ['CatalogModule'],
    });
  return [
    { path, before: text, after: addToModule(ts, { path, text }, additions) },
    ...(await mainFile(app, ts, notes)),
  ];
}

async function mainFile(
  app: Application,
  ts: ReturnType<typeof typeScriptOf>,
  notes: string[],
): Promise<readonly FileChange[]> {
  const path = `${app.sourceRoot}/main.ts`;
  const text = await textOf(join(app.folder, path));
  const after = text === undefined ? undefined : addShutdownHooks(ts, { path, text });
  if (text !== undefined && after !== undefined) return [{ path, before: text, after }];
  notes.push(
    `Call app.enableShutdownHooks() where the application is created, so that a signal closes the storage.`,
  );
  return [];
}

function manifestFile(
  app: Application,
  packages: readonly string[],
  versions: Readonly<Record<string, string>>,
  notes: string[],
): FileChange {
  const present = app.manifest.dependencies ?? {};
  const missing = packages.filter((name) => !(name in present));
  const added = Object.fromEntries(missing.map((name) => [name, versions[name] ?? '*']));
  const dependencies = Object.fromEntries(
    Object.entries({ ...present, ...added }).toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );
  const jest = jestSettings(app, 'package.json', app.manifest.jest, notes);
  const isSame = missing.length === 0 && jest === app.manifest.jest;
  const manifest = { ...app.manifest, dependencies, ...(jest !== undefined && { jest }) };
  const after = isSame ? app.manifestText : jsonLike(app.manifestText, manifest);
  return { path: 'package.json', before: app.manifestText, after };
}

/** Jest's settings of `npm run test:e2e`, as `nest new` writes them. */
async function endToEndTests(app: Application, notes: string[]): Promise<FileChange | undefined> {
  const path = 'test/jest-e2e.json';
  const text = await textOf(join(app.folder, path));
  if (text === undefined) return undefined;
  const settings = parsed<JestSettings>(path, text);
  const changed = jestSettings(app, path, settings, notes);
  return { path, before: text, after: changed === settings ? text : withPattern(text) };
}

/** The settings with the pattern, if this Jest runs CommonJS. */
function jestSettings(
  { modules, testRunner }: Application,
  path: string,
  settings: JestSettings | undefined,
  notes: string[],
): JestSettings | undefined {
  if (modules === 'esm' || testRunner !== 'jest') return settings;
  const patterns = settings?.transformIgnorePatterns;
  if (patterns?.some((pattern) => pattern.includes('@kvent'))) return settings;
  if (settings !== undefined && patterns === undefined)
    return { ...settings, transformIgnorePatterns: [jestPattern] };
  notes.push(
    `Jest must compile the packages of Kvent: transformIgnorePatterns in ${settings === undefined ? 'the settings of Jest' : path} must not match them, as in "${jestPattern}".`,
  );
  return settings;
}

async function ignoreFile(app: Application): Promise<FileChange | undefined> {
  const text = await textOf(join(app.folder, '.gitignore'));
  if (text === undefined || /^\/?data\/?$/m.test(text)) return undefined;
  const separator = text === '' || text.endsWith('\n') ? '' : '\n';
  return { path: '.gitignore', before: text, after: `${text}${separator}/data\n` };
}

async function exampleFiles(app: Application): Promise<readonly FileChange[]> {
  const files = [[`${app.sourceRoot}/catalog.module.ts`, exampleModule]];
  if (app.testRunner !== undefined)
    files.push([`${app.sourceRoot}/catalog.spec.ts`, exampleTest(app.testRunner, extensionOf(app))]);
  const changes: FileChange[] = [];
  for (const [path = '', after = ''] of files) {
    const before = await textOf(join(app.folder, path));
    if (before !== undefined && before !== after) throw existingFile(path);
    changes.push({ path, before, after });
  }
  return changes;
}

const extensionOf = ({ modules }: Application): '' | '.js' => (modules === 'esm' ? '.js' : '');

/**
 * The text of Jest's settings with the pattern as the last property; everything else stays as it
 * is.
 */
function withPattern(text: string): string {
  const [end, indentation] = [text.lastIndexOf('}'), /\n([ \t]+)"/.exec(text)?.[1] ?? '  '];
  const head = text.slice(0, end).trimEnd();
  const comma = head.endsWith('{') ? '' : ',';
  const property = `"transformIgnorePatterns": [${JSON.stringify(jestPattern)}]`;
  return `${head}${comma}\n${indentation}${property}\n${text.slice(end)}`;
}

/** JSON with the indentation and the end of an earlier text. */
function jsonLike(text: string, value: object): string {
  const indentation = /\n([ \t]+)"/.exec(text)?.[1] ?? '  ';
  return JSON.stringify(value, undefined, indentation) + (text.endsWith('\n') ? '\n' : '');
}

const missingFile = (path: string): Error =>
  storageError(
    'STORAGE_UNSUPPORTED',
    `${path} does not exist, and kvent init looks for no other root module. Nothing was changed. Write into the imports of your root module: KeyValueStorageModule.forRoot({ provider: () => … })`,
    {},
  );

const existingFile = (path: string): Error =>
  storageError(
    'STORAGE_UNSUPPORTED',
    `${path}:1 exists, and kvent init overwrites no file. Nothing was changed. Rename it, or leave out --example.`,
    {},
  );
