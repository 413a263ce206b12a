/**
 * The arrows of `docs/architecture.md` are those of the table that lint enforces, and the README's
 * table of providers matches their features.
 */
import { readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { JsonFileProvider, MemoryProvider, type StorageProvider } from '@kvent/key-value-storage';
import { rooms } from '../../oxlint.config.mjs';
import { pageAt, root } from './pages.js';

describe('docs/architecture.md', () => {
  const page = pageAt('docs/architecture.md');
  const blocks = page.fences.filter(({ language }) => language === 'text').map(({ lines }) => lines);

  it('has the arrows of all rooms, as the table of lint allows them', () => {
    const drawn = (blocks.find((lines) => lines.some((line) => line.includes('─►'))) ?? []).map((line) =>
      line.split('─►').map((part) => part.trim()),
    );
    const stated = drawn.map(
      ([from = '', to = '']) => [from, to === 'nothing' ? [] : to.split(', ').sort()] as const,
    );
    const ours = Object.entries(rooms).filter(([name]) => stated.some(([from]) => from === name));
    expect(Object.fromEntries(stated)).toEqual(
      Object.fromEntries(ours.map(([name, room]) => [name, room.rooms.toSorted()])),
    );
    const ofLibraries = Object.entries(rooms).filter(([, { files }]) =>
      /^(libs\/[^*]*\*\*|apps|bench)/.test(files),
    );
    expect(
      ofLibraries.map(([name]) => name).filter((name) => !stated.some(([from]) => from === name)),
    ).toEqual([]);
  });

  const [tree = []] = blocks;

  it('has every folder of the libraries in its tree, and no other', () => {
    const actual = readdirSync(join(root, 'libs')).flatMap((library) =>
      readdirSync(join(root, 'libs', library, 'src'), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll('\\', '/')),
    );
    expect(foldersOf(tree).toSorted()).toEqual(actual.toSorted());
  });

  it('names existing files in its tree', () => {
    const named = tree.flatMap((line) => line.match(/[\w-]+(?:\.[\w-]+)*\.ts/g) ?? []);
    const files = readdirSync(join(root, 'libs'), { recursive: true, encoding: 'utf8' });
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter((name) => !files.some((file) => `/${file}`.endsWith(`/${name}`)))).toEqual([]);
  });
});

/** The folders of a tree that is drawn with three characters per level, with their full paths. */
function foldersOf(lines: readonly string[]): readonly string[] {
  const path: string[] = [];
  return lines.flatMap((line) => {
    const [, library] = /^(libs\/[\w-]+\/src)\b/.exec(line) ?? [];
    const [, indent = '', folder] = /^([│ ]*)[├└]─ ([\w-]+)\/(?: |$)/.exec(line) ?? [];
    if (library !== undefined) path.splice(0, path.length, library);
    if (folder === undefined) return [];
    path.splice(indent.length / 3 + 1, path.length, folder);
    return [path.join('/')];
  });
}

describe('the table of storage providers in the README', () => {
  const rows = pageAt('README.md')
    .lines.filter((line) => line.startsWith('|'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  const head =
    rows.find(([first, ...names]) => first === '' && names.some((name) => name.includes('Provider'))) ?? [];
  const providers: readonly StorageProvider[] = [
    new MemoryProvider(),
    new JsonFileProvider({ directory: './data' }),
    new PostgresProvider({ url: 'postgres://localhost/data' }),
  ];

  it('has a column for each provider', () => {
    expect(head.slice(1)).toEqual(providers.map((provider) => `\`${provider.constructor.name}\``));
  });

  it.each(['durable', 'shared', 'expiry', 'scan', 'clock'] as const)(
    'states the feature %s of each provider',
    (feature) => {
      const row = rows.find(([first]) => first === `\`${feature}\``);
      const values = providers.map(({ features }) => features[feature]);
      expect(row?.slice(1)).toEqual(
        values.map((value) => `\`${typeof value === 'string' ? `'${value}'` : JSON.stringify(value)}\``),
      );
    },
  );
});
