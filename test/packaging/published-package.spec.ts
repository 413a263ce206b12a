/**
 * What `npm publish` would send, judged by the tools that users of other packages judge it with.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, posix } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { libraries, packLibrary, type Library, type Packed } from './pack-library.js';
import { ScratchApp } from './scratch-app.js';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..', '..');
const bin = (path: string): string => join(root, 'node_modules', path);
/** Above the sizes of today: what makes a package much larger is noticed here. */
const kilobytesMax = {
  'key-value-storage': { packed: 1_200, unpacked: 5_500 },
  'key-value-postgres': { packed: 285, unpacked: 1_150 },
  'event-store': { packed: 480, unpacked: 2_200 },
  cli: { packed: 540, unpacked: 1_850 },
} as const;

const tarballs = async (...names: readonly Library[]): Promise<readonly string[]> =>
  await Promise.all(names.map(async (name) => (await packLibrary(name)).tarball));

describe.each(libraries.map((name) => [name] as const))('@kvent/%s as published', (name) => {
  const folder = join(root, 'libs', name);
  const isProgram = name === 'cli';
  let files: readonly string[];
  let tarball: string;
  let bytes: Packed['bytes'];

  beforeAll(async () => {
    ({ files, tarball, bytes } = await packLibrary(name));
  }, 600_000);

  const textOf = async (file: string): Promise<string> =>
    (await run('tar', ['-xzOf', tarball, `package/${file}`])).stdout;

  it('holds the build, its sources, the manifest, its README and its licence, and nothing else', () => {
    const doors = isProgram ? ['bin/kvent.cjs'] : ['dist/index.js', 'dist/index.d.ts', 'dist/index.cjs'];
    const others = files.filter(
      (file) =>
        !/^(bundle\/(.*\.cjs(\.map)?|LICENSE\.commander)|dist\/.*\.(c?js|d\.c?ts)(\.map)?|src\/.*\.c?ts|package\.json|README\.md|LICENSE)$/.test(
          file,
        ),
    );
    expect(others).toEqual(isProgram ? doors : []);
    expect(files).toEqual(expect.arrayContaining([...doors, 'package.json', 'LICENSE', 'README.md']));
    expect(files.filter((file) => /(\.spec|\/spec-support)\.(js|d\.ts|ts)(\.map)?$/.test(file))).toEqual([]);
  });

  it('holds nothing whose source is gone', () => {
    const built = files.filter((file) => file.startsWith('dist/'));
    const sourceOf = (file: string): string =>
      join(folder, 'src', file.slice('dist/'.length).replace(/(\.d\.(c?)ts|\.(c?)js)(\.map)?$/, '.$2$3ts'));
    expect(built.length).toBeGreaterThan(0);
    expect(built.filter((file) => !existsSync(sourceOf(file)))).toEqual([]);
  });

  it('holds source maps that lead to sources in the package', async () => {
    const builtFile = isProgram ? 'dist/main' : 'dist/index';
    for (const map of [`${builtFile}.js.map`, `${builtFile}.d.ts.map`]) {
      expect(files).toContain(map);
      const { sources } = JSON.parse(await textOf(map)) as { readonly sources: readonly string[] };
      expect(sources.length).toBeGreaterThan(0);
      for (const source of sources) expect(files).toContain(posix.join('dist', source));
    }
  });

  it('is not larger than expected', () => {
    const { packed, unpacked } = kilobytesMax[name];
    expect(bytes.packed / 1_000).toBeLessThan(packed);
    expect(bytes.unpacked / 1_000).toBeLessThan(unpacked);
  });

  it('satisfies publint', async () => {
    const { stdout } = await run(process.execPath, [bin('publint/src/cli.js'), '--strict', tarball], {
      cwd: folder,
    });
    expect(stdout).toContain('All good!');
  });

  if (!isProgram) {
    it('resolves with types by every resolver, from ESM and from CommonJS', async () => {
      const manifest = JSON.parse(await textOf('package.json')) as { readonly exports: object };
      const internal = Object.keys(manifest.exports).filter((door) => door.startsWith('./internal'));
      // one row for each door: the other table is chosen where there is one door
      const table = ['--format', 'table-flipped', '--no-color', '--no-emoji'];
      const args = [bin('@arethetypeswrong/cli/dist/index.js'), tarball, ...table];
      if (internal.length > 0) args.push('--exclude-entrypoints', ...internal);
      // a problem is an exit code, which rejects
      const { stdout } = await run(process.execPath, args);
      expect(stdout).toContain('No problems found');
      expect(stdout.match(/│ OK \(CJS\) +│ OK \(ESM\) +│/g)).not.toBeNull();
    });
  }
});

describe('Where none of their peers is installed', () => {
  let app: ScratchApp;
  const esm = async (program: string): Promise<string> =>
    (await app.run('.', ['--input-type=module', '--eval', program])).stdout;
  const commonJs = async (program: string): Promise<string> =>
    (
      await app.run('.', [
        '--disable-warning=ExperimentalWarning',
        '--input-type=commonjs',
        '--eval',
        program,
      ])
    ).stdout;

  beforeAll(async () => {
    app = await ScratchApp.install(
      await tarballs('key-value-storage', 'key-value-postgres', 'event-store'),
      'leave out',
    );
  }, 600_000);
  afterAll(() => app[Symbol.asyncDispose]());

  it('the core of the stores loads, by import and by require', async () => {
    const work = 'process.stdout.write(new MemoryProvider().name);';
    expect(await esm(`import { MemoryProvider } from '@kvent/key-value-storage/core'; ${work}`)).toBe(
      'memory',
    );
    expect(
      await commonJs(`const { MemoryProvider } = require('@kvent/key-value-storage/core'); ${work}`),
    ).toBe('memory');
  });

  it.each(['provider', 'internal', 'internal/json-file', 'internal/nest', 'internal/rows', 'testing'])(
    'the door /%s of the stores loads',
    async (door) => {
      const work = `process.stdout.write(typeof (await import('@kvent/key-value-storage/${door}')));`;
      expect(await esm(work)).toBe('object');
    },
  );

  it('the core of the streams loads, by import and by require', async () => {
    const work =
      "process.stdout.write(defineStream('till', { events: { paid: event() }, initial: () => 0, evolve: (n) => n + 1 }).type);";
    expect(await esm(`import { defineStream, event } from '@kvent/event-store/core'; ${work}`)).toBe('till');
    expect(
      await commonJs(`const { defineStream, event } = require('@kvent/event-store/core'); ${work}`),
    ).toBe('till');
  });

  it.each([
    ['key-value-storage', '@nestjs/'],
    ['event-store', '@nestjs/'],
    ['key-value-postgres', 'pg'],
  ])('the front door of %s says what is missing: %s', async (name, missing) => {
    await expect(esm(`await import('@kvent/${name}')`)).rejects.toThrow(missing);
  });
});

it('A script and the command `kvent` do their work where Nest is not installed', async () => {
  await using app = await ScratchApp.install(
    await tarballs('key-value-storage', 'key-value-postgres', 'event-store', 'cli'),
  );
  expect(existsSync(join(app.folder, 'node_modules/@nestjs'))).toBe(false);
  const kvent = async (...args: string[]) =>
    await app.run('.', ['node_modules/@kvent/cli/bin/kvent.cjs', ...args]);
  const open = (work: string): string[] => [
    '--input-type=module',
    '--eval',
    `import { defineState, JsonFileProvider, openStorage } from '@kvent/key-value-storage/core';
     const on = async (directory, work) => {
       const storage = await openStorage(new JsonFileProvider({ directory }));
       const done = await work(storage.store(defineState('note')));
       await storage[Symbol.asyncDispose]();
       return done;
     };
     ${work}`,
  ];
  await app.run('.', open("await on('./data', (notes) => notes.add('a', 'kept'));"));
  await kvent('copy', '--from', './data', '--to', './copy');
  const { stdout } = await app.run(
    '.',
    open("process.stdout.write((await on('./copy', (notes) => notes.getOrThrow('a'))).value);"),
  );
  expect(stdout).toBe('kept');
  await expect(kvent('copy', '--from', './data')).rejects.toThrow('--to');
}, 600_000);
