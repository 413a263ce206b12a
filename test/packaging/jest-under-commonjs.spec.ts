/**
 * Jest as Nest 11 sets it up, with the lines that `docs/guides/testing.md` tells to add, taken from
 * there: without them it cannot load the library.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { packLibrary } from './pack-library.js';
import { root, ScratchApp } from './scratch-app.js';

const packages = [
  '@nestjs/common@11.2.10',
  '@nestjs/core@11.2.10',
  '@nestjs/testing@11.2.6',
  'reflect-metadata@0.2.2',
  'rxjs@7.8.2',
  '@types/node@20.19.43',
  'jest@30.5.2',
  '@types/jest@30.0.0',
  'ts-jest@29.4.15',
  'typescript@5.9.3', // what Nest 11 generates: 5.x
];

/** As `nest new` writes them. */
const jest = {
  moduleFileExtensions: ['js', 'json', 'ts'],
  rootDir: 'src',
  testRegex: '.*\\.spec\\.ts$',
  transform: { '^.+\\.(t|j)s$': 'ts-jest' },
  testEnvironment: 'node',
};
const compilerOptions = {
  module: 'nodenext',
  moduleResolution: 'nodenext',
  esModuleInterop: true,
  isolatedModules: true,
  emitDecoratorMetadata: true,
  experimentalDecorators: true,
  target: 'ES2023',
  outDir: './dist',
  types: ['node', 'jest'],
  skipLibCheck: true,
  strictNullChecks: true,
};

describe('Jest under CommonJS', () => {
  let app: ScratchApp;

  beforeAll(async () => {
    const packed = await packLibrary('key-value-storage');
    app = await ScratchApp.install([...packages, packed.tarball]);
    await app.writeProgram('src', 'commonjs', 'catalog.spec.ts');
  });

  afterAll(async () => {
    await app[Symbol.asyncDispose]();
  });

  const runJest = async (added: Recipe) => {
    const manifest = JSON.parse(await readFile(join(app.folder, 'package.json'), 'utf8')) as object;
    await app.write('package.json', { ...manifest, jest: { ...jest, ...added.jest } });
    await app.write('tsconfig.json', { compilerOptions: { ...compilerOptions, ...added.compilerOptions } });
    return await app.run('.', ['node_modules/jest/bin/jest.js', '--ci', '--no-cache']);
  };

  it('runs a test of an application with the lines of the guide', async () => {
    const { stderr } = await runJest(await recipe());
    expect(stderr).toContain('1 passed, 1 total');
  });

  it('does not without them, on a Node whose require does not serve Jest', async () => {
    const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
    const run = runJest({ jest: {}, compilerOptions: {} });
    if (major > 24 || (major === 24 && minor >= 9)) await run.catch(() => undefined);
    else await expect(run).rejects.toThrow('Must use import to load ES Module');
  });
});

interface Recipe {
  readonly jest: object;
  readonly compilerOptions: object;
}

/** The two blocks of the guide. */
async function recipe(): Promise<Recipe> {
  const guide = await readFile(join(root, 'docs/guides/testing.md'), 'utf8');
  const section = guide.slice(guide.indexOf('## Jest under CommonJS'));
  const blocks = Array.from(
    section.matchAll(/```json\n([^]*?)```/g),
    ([, block]) => JSON.parse(block as string) as Partial<Recipe>,
  );
  const merged = Object.assign({}, ...blocks) as Partial<Recipe>;
  if (merged.jest === undefined || merged.compilerOptions === undefined)
    throw new Error('The guide no longer shows the two lines.');
  return { jest: merged.jest, compilerOptions: merged.compilerOptions };
}
