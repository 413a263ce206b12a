/** What a release needs: manifests, the configuration of changesets, and the workflow. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { libraries } from './pack-library.js';

const root = join(import.meta.dirname, '..', '..');
const textOf = (path: string): string => readFileSync(join(root, path), 'utf8');

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, string>>;
}
const manifests = libraries.map(
  (name) => [name, JSON.parse(textOf(`libs/${name}/package.json`)) as Manifest] as const,
);
const names = manifests.map(([, { name }]) => name);

describe.each(manifests)('the manifest of %s', (folder, manifest) => {
  it('says where the package comes from, and that it is published with its provenance', () => {
    expect(manifest).toMatchObject({
      license: 'MIT',
      description: expect.stringMatching(/\w/),
      keywords: expect.arrayContaining([expect.any(String)]),
      homepage: expect.stringMatching(/^https:/),
      bugs: { url: expect.stringMatching(/^https:/) },
      repository: { type: 'git', directory: `libs/${folder}` },
      publishConfig: { access: 'public', provenance: true },
      engines: { node: '>=20.19' },
    });
  });

  it('needs its sister packages in exactly its own version', () => {
    const sisters = Object.entries(manifest.dependencies ?? {}).filter(([name]) => names.includes(name));
    expect(sisters.filter(([, version]) => version !== manifest.version)).toEqual([]);
  });
});

it.each(manifests)(
  'the README of %s says how to install it, and where its documentation is',
  (folder, { name }) => {
    const readme = textOf(`libs/${folder}/README.md`);
    expect(readme).toMatch(new RegExp(`^npm install .*${name}\\b`, 'm'));
    expect(readme).toContain('](https://github.com/kvent/kvent#documentation)');
  },
);

it('all packages have one version, and changesets keep it so', () => {
  expect(new Set(manifests.map(([, { version }]) => version)).size).toBe(1);
  const { fixed } = JSON.parse(textOf('.changeset/config.json')) as { readonly fixed: readonly string[][] };
  expect(fixed.map((group) => group.toSorted())).toEqual([names.toSorted()]);
});

it('the API pages have every door that is public', () => {
  const { entryPoints } = JSON.parse(textOf('typedoc.json')) as { readonly entryPoints: readonly string[] };
  const doors = manifests.flatMap(([folder, { exports }]) =>
    Object.entries(exports).flatMap(([door, targets]) =>
      /^\.\/(internal|package\.json)/.test(door)
        ? []
        : [`libs/${folder}/${(targets as { readonly 'kvent-source': string })['kvent-source'].slice(2)}`],
    ),
  );
  expect(entryPoints.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  expect([...entryPoints].sort()).toEqual(doors.sort());
});

interface Workflow {
  readonly jobs: Readonly<
    Record<
      string,
      {
        readonly permissions?: Readonly<Record<string, string>>;
        readonly steps: readonly {
          readonly run?: string;
          readonly with?: Readonly<Record<string, string>>;
        }[];
      }
    >
  >;
}

it('the release workflow publishes after all tests, by its identity and without a token', () => {
  const text = textOf('.github/workflows/release.yml');
  const { release } = (parse(text) as Workflow).jobs;
  const commands = release?.steps.map(({ run, with: inputs }) => run ?? inputs?.['publish'] ?? '') ?? [];
  expect(release?.permissions).toMatchObject({ 'id-token': 'write' });
  expect(commands.indexOf('.ci/run')).toBeGreaterThan(-1);
  expect(commands.findIndex((command) => command.endsWith(' publish'))).toBeGreaterThan(
    commands.indexOf('.ci/run'),
  );
  expect(text).not.toMatch(/NPM_TOKEN|NODE_AUTH_TOKEN/);
});
