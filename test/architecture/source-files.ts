/**
 * The sources of this repository as the architecture tests see them: which file belongs to which
 * room, and what it imports.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join, relative } from 'node:path';
import ts from 'typescript';
import { rooms } from '../../oxlint.config.mjs';

export type Target =
  | { readonly room: string; readonly file: string }
  | { readonly package: string }
  | { readonly builtin: string }
  | { readonly unknown: string };
export interface Import {
  readonly file: string;
  readonly specifier: string;
  readonly target: Target;
}

export const root = join(import.meta.dirname, '..', '..');
export const table = new Map(Object.entries(rooms));

const matchers = [...table].map(([name, room]) => [name, toRegExp(room.files)] as const);

/** As lint does it: the first row that matches. */
export function roomOf(file: string): string | undefined {
  return matchers.find(([, pattern]) => pattern.test(file))?.[0];
}

/** Every source that the walls concern, as paths from the root. */
export function sourceFiles(): readonly string[] {
  const inFolders = ['libs', 'apps', 'test', 'bench'].flatMap((folder) => walk(folder));
  return [
    ...readdirSync(root).filter((name) => name.endsWith('.mjs')),
    ...inFolders.filter((file) => /\.(ts|mts|mjs)$/.test(file)),
  ].sort();
}

/** The text of a file, by its path from the root. */
export const readSource = (file: string): string => readFileSync(join(root, file), 'utf8');

/** The front doors: the sources that `exports` of the packages point at. */
export const doors: readonly string[] = readdirSync(join(root, 'libs')).flatMap((library) => {
  const manifest = JSON.parse(readSource(`libs/${library}/package.json`)) as {
    exports?: Record<string, string | { 'kvent-source': string }>;
  };
  return Object.values(manifest.exports ?? {}).flatMap((door) =>
    typeof door === 'string' ? [] : [`libs/${library}/${door['kvent-source'].slice(2)}`],
  );
});

/** A spec, or what specs of one folder share. */
export const isSpec = (file: string): boolean => /(\.spec|\/spec-support)\.ts$/.test(file);

/** What the packages are made of: the sources of the libraries, without their specs. */
export const librarySources = (): readonly string[] =>
  sourceFiles().filter((file) => /^libs\/[^/]+\/src\//.test(file) && !isSpec(file));

export function importsOf(file: string): readonly Import[] {
  const { importedFiles } = ts.preProcessFile(readSource(file), true, true);
  return importedFiles.map(({ fileName: specifier }) => ({
    file,
    specifier,
    target: targetOf(file, specifier),
  }));
}

const builtins = new Set(builtinModules);
const options: ts.CompilerOptions = {
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  customConditions: ['kvent-source'],
  allowJs: true,
};
const cache = ts.createModuleResolutionCache(root, (name) => name, options);

function targetOf(file: string, specifier: string): Target {
  if (specifier.startsWith('node:') || builtins.has(specifier)) return { builtin: specifier };
  const path = resolveFile(file, specifier);
  if (path === undefined) {
    return specifier.startsWith('.')
      ? { unknown: specifier }
      : { package: specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/') };
  }
  const room = roomOf(path);
  return room === undefined ? { unknown: path } : { room, file: path };
}

/** The file of this repository that an import means, as a path from the root. */
export function resolveFile(file: string, specifier: string): string | undefined {
  const { resolvedModule } = ts.resolveModuleName(
    specifier,
    join(root, file),
    options,
    ts.sys,
    cache,
    undefined,
    ts.ModuleKind.ESNext,
  );
  const path = resolvedModule && relative(root, resolvedModule.resolvedFileName);
  return path === undefined || path.includes('node_modules') ? undefined : path;
}

function walk(folder: string): readonly string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (['node_modules', 'dist', 'fixtures', 'coverage', 'data'].includes(entry.name)) return [];
    return entry.isDirectory() ? walk(path) : [path];
  });
}

/** The globs of the table use `*` (within a name), `**` (any depth) and `{a,b}`, nothing more. */
function toRegExp(glob: string): RegExp {
  const syntax: Readonly<Record<string, string>> = {
    '**/': '(.*/)?',
    '**': '.*',
    '*': '[^/]*',
    '{': '(',
    ',': '|',
    '}': ')',
  };
  const parts = glob.replace(/[.+^$()|[\]\\]/g, '\\$&').split(/(\*\*\/|\*\*|[*{,}])/);
  return new RegExp(`^${parts.map((part) => syntax[part] ?? part).join('')}$`);
}
