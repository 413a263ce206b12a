import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { ESLint } from 'eslint';
import {
  doors,
  importsOf,
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
  let eslint: ESLint;
  beforeAll(() => {
    eslint = new ESLint({ cwd: root });
  });
  const lint = async (file: string, code: string): Promise<readonly (string | null)[]> => {
    const [result] = await eslint.lintText(code, { filePath: join(root, file) });
    return result?.messages.map((message) => message.ruleId ?? message.message) ?? [];
  };
  const wall = 'boundaries/dependencies';

  it.each(wallsAround())('is noticed when $from imports what it must not know', async ({ file, targets }) => {
    // an import for each room in one file: a file for each would cost half a minute
    const code = targets.map(({ specifier }) => `export * as planted from '${specifier}';\n`).join('');
    const [result] = await eslint.lintText(code, { filePath: join(root, file) });
    const noticed = new Set(
      result?.messages.filter(({ ruleId }) => ruleId === wall).map(({ line }) => targets[line - 1]?.to),
    );
    expect(targets.map(({ to }) => to).filter((to) => !noticed.has(to))).toEqual([]);
  });

  it.each([...table].flatMap(([name, room]) => (room.packages === '*' ? [] : [name])))(
    'is noticed when %s imports a package it must not know',
    async (name) => {
      expect(
        await lint(placeIn(name), `import * as planted from 'supertest';\nexport { planted };\n`),
      ).toContain(wall);
    },
  );

  it.each([...table].flatMap(([name, room]) => (room.node ? [] : [name])))(
    'is noticed when %s imports from Node',
    async (name) => {
      expect(
        await lint(placeIn(name), `import * as planted from 'node:fs';\nexport { planted };\n`),
      ).toContain(wall);
    },
  );

  it('is noticed when the core asks for a global of Node', async () => {
    expect(
      await lint('libs/key-value-storage/src/core/planted.ts', 'export const planted = process.env;\n'),
    ).toContain('no-restricted-globals');
  });

  it('is noticed when a dynamic import or a type import goes through a wall', async () => {
    const file = 'libs/key-value-storage/src/core/planted.ts';
    expect(await lint(file, `export const planted = async () => import('../index.js');\n`)).toContain(wall);
    expect(await lint(file, `export type { Type } from '@nestjs/common';\n`)).toContain(wall);
  });

  it('is noticed when an app reaches behind a front door by path', async () => {
    const code = `import * as planted from '../../../libs/key-value-storage/src/index.js';\nexport { planted };\n`;
    expect(await lint('apps/storefront/src/planted.ts', code)).toContain('no-restricted-imports');
  });

  it('is noticed when a file lies in no room', async () => {
    expect(await lint('libs/key-value-storage/src/planted.ts', 'export {};\n')).toContain(
      'boundaries/no-unknown-files',
    );
  });

  it('is noticed when a front door exports without naming', async () => {
    expect(await lint('libs/key-value-storage/src/index.ts', `export * from './core.js';\n`)).toContain(
      'no-restricted-syntax',
    );
  });

  it('is noticed when a module holds state', async () => {
    expect(await lint('libs/key-value-storage/src/core/planted.ts', 'export let planted = 0;\n')).toContain(
      'no-restricted-syntax',
    );
  });

  it('is not seen where there is none', async () => {
    const code = `import * as storage from '@kvent/key-value-storage';\nexport { storage };\n`;
    expect(await lint('apps/storefront/src/planted.ts', code)).toEqual([]);
  });

  it('is noticed by the rules that need types', async () => {
    const code = [
      'declare function save(): Promise<void>;',
      'declare const parsed: any;',
      'save();',
      '[1].forEach(save);',
      'export const text: string = parsed.text;',
      "throw 'text';",
    ];
    expect(await lintWithTypes(code.join('\n'))).toEqual([
      'planted.ts:3 no-floating-promises',
      'planted.ts:4 no-misused-promises',
      'planted.ts:5 no-unsafe-assignment',
      'planted.ts:5 no-unsafe-member-access',
      'planted.ts:6 only-throw-error',
    ]);
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
  const silent = /(es|ox)lint-disable(?!.* -- \S)/;
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

/** What oxlint finds in code that stands outside the repository: `file:line rule`, sorted. */
async function lintWithTypes(code: string): Promise<readonly string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'kvent-planted-'));
  try {
    await writeFile(join(folder, 'tsconfig.json'), '{ "compilerOptions": { "strict": true } }');
    await writeFile(join(folder, 'planted.ts'), code);
    const oxlint = join(root, 'node_modules/oxlint/bin/oxlint');
    const args = ['--config', join(root, '.oxlintrc.json'), '--type-aware', '--format=json', '.'];
    const output = await new Promise<string>((resolve) => {
      // it ends with 1, because it finds something
      execFile(process.execPath, [oxlint, ...args], { cwd: folder }, (_, stdout) => resolve(stdout));
    });
    const { diagnostics } = JSON.parse(output) as {
      readonly diagnostics: readonly {
        readonly code: string;
        readonly filename: string;
        readonly labels: readonly { readonly span: { readonly line: number } }[];
      }[];
    };
    return diagnostics
      .map(
        ({ code: rule, filename, labels }) =>
          `${filename}:${String(labels[0]?.span.line)} ${rule.replace(/^.*\((.*)\)$/, '$1')}`,
      )
      .toSorted();
  } finally {
    await rm(folder, { recursive: true });
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

/** One pair for each wall: a room, and a file that exists in a room it must not know. */
interface Target {
  readonly to: string;
  readonly specifier: string;
}

/** Of each room: a path in it, and a file of every room that it must not import from. */
function wallsAround(): readonly { from: string; file: string; targets: readonly Target[] }[] {
  return [...table]
    .filter(([from]) => from !== 'tooling')
    .map(([from, room]) => {
      const file = placeIn(from);
      const up = '../'.repeat(dirname(file).split('/').length);
      const targets = [...table.keys()].flatMap((to) => {
        const target = files.find((source) => roomOf(source) === to && source.endsWith('.ts'));
        if (to === from || room.rooms.includes(to) || target === undefined) return [];
        return [{ to, specifier: `${up}${target.replace(/\.ts$/, '.js')}` }];
      });
      return { from, file, targets };
    })
    .filter(({ targets }) => targets.length > 0);
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
