import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import {
  doors,
  importsOf,
  librarySources,
  readSource,
  roomOf,
  root,
  sourceFiles,
  table,
  type Import,
} from './source-files.js';

const files = sourceFiles();

describe('the rooms', () => {
  it('hold every source file', () => {
    expect(files.filter((file) => roomOf(file) === undefined)).toEqual([]);
  });

  it('know only rooms that exist', () => {
    expect([...table.values()].flatMap((room) => room.rooms).filter((name) => !table.has(name))).toEqual([]);
  });

  it('import only what their row of the table allows', () => {
    expect(files.flatMap(importsOf).filter(isForbidden).map(describeImport)).toEqual([]);
  });

  it('leave the core with nothing beneath it', () => {
    expect(table.get('core')).toMatchObject({ rooms: [], packages: ['@standard-schema/spec'], node: false });
  });

  it('keep the storage providers away from Nest, and Nest away from the providers', () => {
    expect(table.get('nest')?.rooms).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/^(memory|json-file)$/)]),
    );
    for (const name of ['memory', 'json-file'])
      expect(table.get(name)).toMatchObject({ rooms: ['core'], packages: [] });
  });
});

describe('a planted violation', () => {
  const wall = 'boundaries(dependencies)';
  const withTypes = [
    'declare function save(): Promise<void>;',
    'declare const parsed: ReturnType<typeof JSON.parse>;',
    'save();',
    '[1].forEach(save);',
    'export const text: string = parsed.text;',
    "throw 'text';",
  ];
  const core = 'libs/key-value-storage/src/core';
  const storefront = 'apps/storefront/src';
  let findings: readonly Finding[];

  beforeAll(async () => {
    findings = await lintPlanted({
      ...Object.fromEntries(wallsAround().map(({ file, lines }) => [file, lines])),
      [`${core}/global.ts`]: ['export const planted = process.env;'],
      [`${core}/dynamic.ts`]: [`export const planted = async () => import('../index.js');`],
      [`${core}/type.ts`]: [`export type { Type } from '@nestjs/common';`],
      [`${storefront}/path.ts`]: [
        `import * as planted from '../../../libs/key-value-storage/src/index.js';`,
        'export { planted };',
      ],
      [`${storefront}/allowed.ts`]: [
        `import * as storage from '@kvent/key-value-storage';`,
        'export { storage };',
      ],
      'libs/key-value-storage/src/nowhere.ts': ['export {};'],
      [`${storefront}/types.ts`]: withTypes,
    });
  });

  const findingsIn = (file: string): readonly Finding[] => findings.filter((each) => each.file === file);
  const rulesIn = (file: string): readonly string[] => findingsIn(file).map(({ rule }) => rule);

  it.each(wallsAround())('is noticed when $from imports what it must not know', ({ file, lines }) => {
    const noticed = new Set(
      findingsIn(file).flatMap(({ rule, line }) => (rule === wall ? [lines[line - 1]] : [])),
    );
    expect(lines.filter((line) => !noticed.has(line))).toEqual([]);
  });

  it('is noticed when the core asks for a global of Node', () => {
    expect(rulesIn(`${core}/global.ts`)).toContain('eslint(no-restricted-globals)');
  });

  it('is noticed when a dynamic import or a type import goes through a wall', () => {
    expect(rulesIn(`${core}/dynamic.ts`)).toContain(wall);
    expect(rulesIn(`${core}/type.ts`)).toContain(wall);
  });

  it('is noticed when an app reaches behind a front door by path', () => {
    expect(rulesIn(`${storefront}/path.ts`)).toContain('eslint(no-restricted-imports)');
  });

  it('is noticed when a file lies in no room', () => {
    expect(rulesIn('libs/key-value-storage/src/nowhere.ts')).toContain('boundaries(no-unknown-files)');
  });

  it('is not seen where there is none', () => {
    expect(rulesIn(`${storefront}/allowed.ts`)).toEqual([]);
  });

  it('is noticed by the rules that need types', () => {
    const found = findingsIn(`${storefront}/types.ts`).map(({ rule, line }) => `${line} ${rule}`);
    expect(found.toSorted()).toEqual([
      '3 typescript(no-floating-promises)',
      '4 typescript(no-misused-promises)',
      '5 typescript(no-unsafe-assignment)',
      '5 typescript(no-unsafe-member-access)',
      '6 typescript(only-throw-error)',
    ]);
  });
});

describe('the sources of the libraries', () => {
  const linesOf = (pattern: RegExp): readonly string[] =>
    librarySources().flatMap((file) =>
      readSource(file)
        .split('\n')
        .flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1}`] : [])),
    );

  it('hold no state in modules: two copies of a module would have different states', () => {
    expect(linesOf(/^(export )?(let|var)\b/)).toEqual([]);
  });

  it('name each export, so that the diff of a door shows each change of the API', () => {
    expect(linesOf(/^export\s+(type\s+)?\*/)).toEqual([]);
  });
});

it('the internal doors export only what another package of this repository imports', () => {
  const sisters = files.filter((file) => /^(libs\/(?!key-value-storage\/)|bench\/|test\/)/.test(file));
  for (const door of ['internal', 'internal-json-file', 'internal-nest', 'internal-rows']) {
    const specifier = `@kvent/key-value-storage/${door.replace('-', '/')}`;
    const imported = new Set(sisters.flatMap((file) => namesOf(readSource(file), specifier)));
    const exported = namesOf(readSource(`libs/key-value-storage/src/${door}.ts`), undefined);
    expect(exported.length).toBeGreaterThan(0);
    expect(exported.filter((name) => !imported.has(name))).toEqual([]);
  }
});

describe('the names', () => {
  const typescript = files.filter((file) => file.endsWith('.ts'));

  it('of files are kebab-case, with dots only before a role', () => {
    const kebab = /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)*\.ts$/;
    expect(typescript.filter((file) => !kebab.test(basename(file)))).toEqual([]);
  });

  it('say what is inside: no utils, helpers, common or shared', () => {
    const vague = /(^|[/.-])(utils?|helpers?|common|shared|misc)([/.-]|$)/;
    expect(files.filter((file) => vague.test(file))).toEqual([]);
  });

  it('of roles that Nest knows are used inside nest/ and the apps only', () => {
    const role = /\.(module|decorator|interceptor|filter|middleware|guard|controller)(\.spec)?\.ts$/;
    expect(
      typescript.filter((file) => file.startsWith('libs/') && role.test(file) && !file.includes('/nest/')),
    ).toEqual([]);
  });

  it('index.ts stands at front doors only', () => {
    expect(typescript.filter((file) => basename(file) === 'index.ts' && !doors.includes(file))).toEqual([]);
  });

  it('are each given at a front door, none by a star', () => {
    expect(doors.filter((door) => /^export\s+(type\s+)?\*\s+from/m.test(readSource(door)))).toEqual([]);
  });
});

it('each rule switched off says why, on its line', () => {
  const silent = /lint-disable(?!.* -- \S)/;
  const own = 'test/architecture/architecture.spec.ts';
  const lines = files
    .filter((file) => file !== own)
    .flatMap((file) =>
      readSource(file)
        .split('\n')
        .map((line, index) => ({ line, at: `${file}:${index + 1}` })),
    );
  expect(lines.filter(({ line }) => silent.test(line)).map(({ at }) => at)).toEqual([]);
});

interface Finding {
  readonly file: string;
  readonly rule: string;
  readonly line: number;
}

/** What lint finds in these files, in a copy of the sources which they are added to. */
async function lintPlanted(
  planted: Readonly<Record<string, readonly string[]>>,
): Promise<readonly Finding[]> {
  // inside the repository, so that packages are found
  const copy = await mkdtemp(join(root, '.tmp/planted-'));
  try {
    const put = async (file: string, text: string): Promise<void> => {
      await mkdir(dirname(join(copy, file)), { recursive: true });
      await writeFile(join(copy, file), text);
    };
    const manifests = ['libs', 'apps'].flatMap((folder) =>
      readdirSync(join(root, folder)).map((name) => `${folder}/${name}/package.json`),
    );
    const others = ['package.json', 'tsconfig.json', 'tsconfig.base.json', ...manifests];
    for (const file of [...files, ...others]) await put(file, readSource(file));
    for (const [file, lines] of Object.entries(planted)) await put(file, lines.join('\n'));
    await mkdir(join(copy, 'node_modules/@kvent'), { recursive: true });
    for (const library of readdirSync(join(root, 'libs')))
      await symlink(join(copy, 'libs', library), join(copy, 'node_modules/@kvent', library));

    const args = ['--config=oxlint.config.mjs', '--type-aware', '--no-ignore', '--format=json'];
    const output = await new Promise<string>((resolve) => {
      // it ends with 1, because it finds something
      execFile(
        process.execPath,
        [join(root, 'node_modules/oxlint/bin/oxlint'), ...args, ...Object.keys(planted)],
        { cwd: copy, maxBuffer: 64 * 1024 * 1024 },
        (_, stdout) => resolve(stdout),
      );
    });
    const { diagnostics } = JSON.parse(output) as {
      readonly diagnostics: readonly {
        readonly code: string;
        readonly filename: string;
        readonly labels: readonly { readonly span: { readonly line: number } }[];
      }[];
    };
    return diagnostics.map(({ code: rule, filename: file, labels }) => ({
      file,
      rule,
      line: labels[0]?.span.line ?? 0,
    }));
  } finally {
    await rm(copy, { recursive: true });
  }
}

/** What a file imports or exports by name, from one specifier or from all. */
function namesOf(source: string, specifier: string | undefined): readonly string[] {
  return Array.from(source.matchAll(/^(?:import|export) (?:type )?\{([^}]*)\} from '([^']+)'/gm))
    .filter(([, , from]) => specifier === undefined || from === specifier)
    .flatMap(([, names = '']) => names.split(','))
    .map((name) => name.replace(/^\s*type /, '').trim())
    .filter((name) => name !== '');
}

function isForbidden({ file, target }: Import): boolean {
  const name = roomOf(file) ?? '';
  const room = table.get(name);
  if (room === undefined || 'unknown' in target) return true;
  if ('room' in target) return target.room !== name && !room.rooms.includes(target.room);
  if ('builtin' in target) return !room.node;
  return room.packages !== '*' && !room.packages.includes(target.package);
}

function describeImport({ file, specifier }: Import): string {
  return `${file} (${String(roomOf(file))}) imports ${specifier}`;
}

/** Of each room: a path in it, and lines each of which imports what the room must not import. */
function wallsAround(): readonly { from: string; file: string; lines: readonly string[] }[] {
  return [...table]
    .filter(([from]) => from !== 'tooling')
    .map(([from, room]) => {
      const file = placeIn(from);
      const up = '../'.repeat(dirname(file).split('/').length);
      const targets = [...table.keys()].flatMap((to) => {
        const target = files.find((source) => roomOf(source) === to && source.endsWith('.ts'));
        if (to === from || room.rooms.includes(to) || target === undefined) return [];
        return [`${up}${target.replace(/\.ts$/, '.js')}`];
      });
      if (room.packages !== '*') targets.push('supertest');
      if (!room.node) targets.push('node:fs');
      return { from, file, lines: targets.map((target, at) => `export * as planted${at} from '${target}';`) };
    })
    .filter(({ lines }) => lines.length > 0);
}

/** A path where a file of this room could be. */
function placeIn(name: string): string {
  const glob = table.get(name)?.files ?? '';
  return glob
    .replace(/\{([^,}]*)[^}]*\}/, '$1')
    .replace('libs/*', 'libs/key-value-storage')
    .replace('apps/*', 'apps/storefront')
    .replace(/\*\*\/\*|\*\*/, 'planted')
    .replace('*', 'planted')
    .replace(/planted$/, 'planted.ts');
}
