import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Folder, kvent, kventJson } from '../spec-support.js';

let folder: Folder;
beforeEach(() => {
  folder = new Folder();
});
afterEach(() => folder[Symbol.dispose]());

const read = (path: string): string => readFileSync(folder.path(`app/${path}`), 'utf8');
const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'));

/** An application as `nest new` makes it, as far as `kvent init` looks at it. */
function application(files: Readonly<Record<string, string | object>> = {}, nest = '^12.0.1'): string {
  const vitest = { type: 'module', devDependencies: { vitest: '^4.1.2' } };
  const all = {
    'package.json': { name: 'app', ...vitest, dependencies: { '@nestjs/common': nest, rxjs: '^7.8.1' } },
    'src/app.module.ts': moduleOf('imports: [],'),
    'src/main.ts': main,
    ...files,
  };
  const path = folder.path('app');
  for (const [name, content] of Object.entries(all)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    const text = typeof content === 'string' ? content : `${JSON.stringify(content, undefined, 2)}\n`;
    writeFileSync(join(path, name), text);
  }
  mkdirSync(join(path, 'node_modules'));
  symlinkSync(typescript, join(path, 'node_modules/typescript'));
  return path;
}

const moduleOf = (line: string): string =>
  `import { Module } from '@nestjs/common';

@Module({
  ${line}
  providers: [],
})
export class AppModule {}
`;
const main = `import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';

const app = await NestFactory.create(AppModule);
await app.listen(3000);
`;
const root = `KeyValueStorageModule.forRoot({
      provider: () => new JsonFileProvider({ directory: './data' }),
    }),`;
const statement = `import {
  JsonFileProvider,
  KeyValueStorageModule,
} from '@kvent/key-value-storage';`;

describe('kvent init', () => {
  it.each(['package.json', 'nest-cli.json', 'src/app.module.ts', 'src/main.ts', '.gitignore', 'yarn.lock'])(
    'refuses a FIFO as %s, and changes nothing',
    async (name) => {
      const app = application();
      const path = join(app, name);
      rmSync(path, { force: true });
      execFileSync('mkfifo', [path]);
      expect(await kvent(['init', app])).toMatchObject({
        exitCode: 2,
        stderr: `kvent: ${path} must be a plain file.\n`,
      });
      if (name !== 'src/app.module.ts') expect(read('src/app.module.ts')).toBe(moduleOf('imports: [],'));
    },
  );

  it('adds the package, the root module and the shutdown hooks, and a second run changes nothing', async () => {
    const app = application({ '.gitignore': 'node_modules' });
    expect(await kventJson('init', app)).toEqual({
      command: 'init',
      nest: 12,
      modules: 'esm',
      testRunner: 'vitest',
      changed: ['src/app.module.ts', 'src/main.ts', 'package.json', '.gitignore'],
      written: true,
      notes: [],
      next: ['npm install'],
    });
    expect(read('src/app.module.ts')).toBe(
      moduleOf(`imports: [\n    ${root}\n  ],`).replace("common';\n", `common';\n${statement}\n`),
    );
    expect(read('src/main.ts')).toContain('AppModule);\napp.enableShutdownHooks();\nawait app.listen');
    expect(JSON.parse(read('package.json'))).toMatchObject({
      dependencies: { '@kvent/key-value-storage': expect.stringMatching(/^\^\d/), rxjs: '^7.8.1' },
    });
    expect(read('.gitignore')).toBe('node_modules\n/data\n');
    expect(await kventJson('init', app)).toMatchObject({ changed: [], next: [] });
  });

  it('prints the changes and writes nothing with --dry-run', async () => {
    const app = application();
    const { exitCode, stdout } = await kvent(['init', app, '--dry-run']);
    expect(exitCode).toBe(0);
    expect(stdout).toContain(`src/app.module.ts
  import { Module } from '@nestjs/common';
+ import {
+   JsonFileProvider,
+   KeyValueStorageModule,
+ } from '@kvent/key-value-storage';
${'  '}
  @Module({
-   imports: [],
+   imports: [
+     KeyValueStorageModule.forRoot({
+       provider: () => new JsonFileProvider({ directory: './data' }),
+     }),
+   ],
    providers: [],
  })
src/main.ts
`);
    expect(read('src/app.module.ts')).toBe(moduleOf('imports: [],'));
  });

  it('adds the settings of Jest under CommonJS, and changes nothing else in them', async () => {
    const jest = { rootDir: 'src', transform: { '^.+\\.ts$': 'ts-jest' } };
    const [packages, e2e] = [{ '@nestjs/common': '^11.0.1' }, '{\n  "rootDir": ".",\n  "a": ["b"]\n}\n'];
    const manifest = { dependencies: packages, devDependencies: { jest: '^30.0.0' }, jest };
    const app = application({ 'package.json': manifest, 'test/jest-e2e.json': e2e, 'yarn.lock': '' });
    expect(await kventJson('init', app)).toMatchObject({
      nest: 11,
      modules: 'commonjs',
      next: ['yarn install'],
    });
    const pattern = '/node_modules/(?!@kvent/)';
    expect(JSON.parse(read('package.json'))).toMatchObject({
      jest: { ...jest, transformIgnorePatterns: [pattern] },
    });
    expect(read('test/jest-e2e.json')).toBe(
      `{\n  "rootDir": ".",\n  "a": ["b"],\n  "transformIgnorePatterns": ["${pattern}"]\n}\n`,
    );
    expect(await kventJson('init', app)).toMatchObject({ changed: [] });
  });

  it('adds the packages of Postgres', async () => {
    const app = application();
    await kventJson('init', app, '--provider', 'postgres');
    expect(read('src/app.module.ts')).toContain('new PostgresProvider({ url: process.env.DATABASE_URL })');
    const { dependencies } = JSON.parse(read('package.json')) as { readonly dependencies: object };
    expect(Object.keys(dependencies)).toEqual([
      '@kvent/key-value-postgres',
      '@kvent/key-value-storage',
      '@nestjs/common',
      'pg',
      'rxjs',
      'typeorm',
    ]);
  });

  it('writes an example with its test, and imports its module', async () => {
    const app = application();
    const { changed } = await kventJson('init', app, '--example', '--provider', 'memory');
    expect(changed).toEqual(expect.arrayContaining(['src/catalog.module.ts', 'src/catalog.spec.ts']));
    expect(read('src/app.module.ts')).toContain("from './catalog.module.js';");
    expect(await kventJson('init', app, '--example')).toMatchObject({ changed: [] });
  });

  it.each([
    ['elements in one line', moduleOf('imports: [A, B],'), `[\n    A,\n    B,\n    ${root}\n  ],`],
    [
      'elements in lines',
      moduleOf('imports: [\n    A,\n    B,\n  ],'),
      `[\n    A,\n    B,\n    ${root}\n  ],`,
    ],
    ['no imports', moduleOf('controllers: [],'), `({\n  imports: [\n    ${root}\n  ],\n  controllers: [],`],
    ['no metadata', '@Module({})\nexport class AppModule {}\n', `({\n  imports: [\n    ${root}\n  ],\n})`],
    ['Windows', moduleOf('imports: [],').replaceAll('\n', '\r\n'), root.replaceAll('\n', '\r\n')],
  ])('edits a module with %s', async (_, text, expected) => {
    const app = application({ 'src/app.module.ts': text });
    await kventJson('init', app);
    expect(read('src/app.module.ts')).toContain(expected);
    expect(await kventJson('init', app)).toMatchObject({ changed: [] });
  });

  it.each([
    [
      'imports that are a variable',
      moduleOf('imports: modules,'),
      'app.module.ts:4 has imports that are not an array',
    ],
    [
      'metadata that are a variable',
      '\n@Module(metadata)\nclass AppModule {}',
      'app.module.ts:2 has a @Module whose',
    ],
    ['no module', 'export const answer = 42;', 'app.module.ts:1 has no class with @Module'],
    ['two modules', '@Module({})\nclass A {}\n@Module({})\nclass B {}', 'app.module.ts:3 has a second class'],
  ])('refuses %s, with file and line and what to write by hand', async (_, text, expected) => {
    const app = application({ 'src/app.module.ts': text });
    const before = [read('package.json'), read('src/main.ts')];
    const { exitCode, stderr } = await kvent(['init', app]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`src/${expected}`);
    expect(stderr).toContain('KeyValueStorageModule.forRoot({ provider: () => new JsonFileProvider(');
    expect(stderr).toContain('[STORAGE_UNSUPPORTED, https://');
    expect([read('package.json'), read('src/main.ts')]).toEqual(before);
    expect(read('src/app.module.ts')).toBe(text);
  });

  it('overwrites no file of the user', async () => {
    const app = application({ 'src/catalog.module.ts': 'export {};' });
    const { exitCode, stderr } = await kvent(['init', app, '--example']);
    expect(exitCode).toBe(1);
    expect(stderr).toContain('src/catalog.module.ts:1 exists');
    expect(read('src/app.module.ts')).toBe(moduleOf('imports: [],'));
  });

  it('notes what it cannot see', async () => {
    const manifest = { dependencies: { '@nestjs/common': '^11.0.0' }, devDependencies: { jest: '^30.0.0' } };
    const app = application({ 'package.json': manifest, 'src/main.ts': 'void start();' });
    const { stdout } = await kvent(['init', app]);
    expect(stdout).toContain('Call app.enableShutdownHooks()');
    expect(stdout).toContain('transformIgnorePatterns in the settings of Jest must not match');
  });

  it('refuses a folder without an application, Nest 10 and an unknown provider as wrong usage', async () => {
    const calls = [
      [['init', folder.path('none')], 'has no package.json'],
      [['init', application({}, '^10.4.0')], 'Kvent needs Nest 11 or newer; package.json has ^10.4.0'],
      [['init', '--provider', 'redis'], '--provider must be json-file or memory or postgres; got redis'],
    ] as const;
    for (const [args, expected] of calls) {
      const { exitCode, stderr } = await kvent(args);
      expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: expect.stringContaining(expected) });
    }
  });
});
