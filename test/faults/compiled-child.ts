/**
 * Children start about a hundred times a minute, and a loader that compiles them takes most of a
 * second each time. So the sources that a child needs are compiled once into a folder, with the
 * same relative paths.
 */
import { transformSync } from '@swc/core';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';

const root = join(import.meta.dirname, '../..');
const library = 'libs/key-value-storage/src';
const folders = [`${library}/core`, `${library}/providers/json-file`, 'test/faults'];
const doors = [`${library}/provider.ts`];

export interface Compiled extends AsyncDisposable {
  /** The compiled path of a file of `test/faults`. */
  path(name: string): string;
}

export async function compileChildren(): Promise<Compiled> {
  const target = join(root, '.tmp');
  await mkdir(target, { recursive: true });
  const folder = await mkdtemp(join(target, 'children-'));
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  const files = [...doors, ...(await Promise.all(folders.map(sourcesIn))).flat()];
  for (const file of files) await compile(join(root, file), join(folder, file.replace(/\.ts$/, '.js')));
  return {
    path: (name) => join(folder, 'test/faults', name),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

async function sourcesIn(folder: string): Promise<readonly string[]> {
  const entries = await readdir(join(root, folder), { recursive: true, withFileTypes: true });
  return entries
    .filter(({ name }) => name.endsWith('.ts') && !name.endsWith('.spec.ts'))
    .map(({ name, parentPath }) => relative(root, join(parentPath, name)));
}

async function compile(from: string, to: string): Promise<void> {
  const { code } = transformSync(await readFile(from, 'utf8'), {
    swcrc: false,
    jsc: {
      target: 'es2023',
      parser: { syntax: 'typescript', decorators: true },
      transform: { verbatimModuleSyntax: true },
    },
    module: { type: 'es6' },
  });
  await mkdir(dirname(to), { recursive: true });
  await writeFile(to, code);
}
