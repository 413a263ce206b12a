import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { versionSource } from '../../core/port/version.js';
import type { FileSystem } from './disk/file-system.js';
import { nodeFileSystem } from './disk/node-file-system.js';
import { JsonFileProvider } from './json-file-provider.js';
import { salvageJsonFile, type SalvageReport } from './salvage.js';

let root: string;
const version = versionSource();

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'kvent-salvage-'));
});
afterEach(() => rmSync(root, { recursive: true }));

const from = (): string => join(root, 'from');
const to = (): string => join(root, 'to');
const file = (name: string): string => join(from(), 'tenant.acme', name);

async function store(directory: string, work: (provider: JsonFileProvider) => Promise<void>): Promise<void> {
  const provider = new JsonFileProvider({ directory });
  await provider.open();
  try {
    await work(provider);
  } finally {
    await provider.close();
  }
}

const written = (keys: readonly string[]): Promise<void> =>
  store(from(), async (provider) => {
    for (const key of keys) {
      const put = {
        kind: 'put',
        address: { container: 'state:x', entity: 'e', key },
        value: { kind: 'json', text: `"${key}"` },
        ttl: 'never',
      } as const;
      await provider.commit([{ database: 'tenant:acme', version: version(), checks: [], changes: [put] }]);
    }
  });

async function keys(directory: string): Promise<readonly string[]> {
  const found: string[] = [];
  await store(directory, async (provider) => {
    for await (const { key } of provider.administration.export('tenant:acme')) found.push(key);
  });
  return found;
}

function spoil(name: string, line: number): void {
  const lines = readFileSync(file(name), 'utf8').split('\n');
  writeFileSync(
    file(name),
    lines
      .with(line - 1, (lines[line - 1] ?? '').replace('state', 'stale').replace('acme', 'acne'))
      .join('\n'),
  );
}

const damage = (report: SalvageReport): readonly string[] =>
  report.databases.flatMap((each) => each.damage.map(({ place }) => place));

describe('salvage', () => {
  it('ends with its signal, also while the disk does not answer', async () => {
    await written(['a']);
    const aborting = new AbortController();
    const fileSystem: FileSystem = {
      ...nodeFileSystem,
      open: (path, ...how) => {
        if (path !== file('journal-1.jsonl')) return nodeFileSystem.open(path, ...how);
        aborting.abort();
        return new Promise<never>(() => undefined);
      },
    };
    await expect(
      salvageJsonFile(from(), to(), { fileSystem, signal: aborting.signal }),
    ).rejects.toMatchObject({ code: 'ABORTED', effect: 'none' });
  });

  it('copies an intact store completely, and reports no damage', async () => {
    await written(['a', 'b']);
    expect(await salvageJsonFile(from(), to())).toEqual({
      databases: [{ database: 'tenant:acme', rows: 2, damage: [] }],
    });
    expect(await keys(to())).toEqual(['a', 'b']);
  });

  it('does not follow a link in place of a database, and reports it', async () => {
    await written(['a']);
    symlinkSync(join(from(), 'tenant.acme'), join(from(), 'tenant.globex'));
    const report = await salvageJsonFile(from(), to());
    expect(report.databases.map(({ database, rows }) => [database, rows])).toEqual([
      ['tenant:globex', 0],
      ['tenant:acme', 1],
    ]);
    expect(damage(report)).toEqual([join(from(), 'tenant.globex')]);
    expect(readdirSync(to())).not.toContain('tenant.globex');
  });

  it('creates a copy that only its owner can read', async () => {
    await written(['a']);
    const before = process.umask(0);
    try {
      await salvageJsonFile(from(), to());
    } finally {
      process.umask(before);
    }
    const modes = ['', 'tenant.acme', 'tenant.acme/journal-1.jsonl'].map((name) =>
      (statSync(join(to(), name)).mode & 0o777).toString(8),
    );
    expect(modes).toEqual(['700', '700', '600']);
  });

  it('skips a damaged line, reports it, takes the lines after it, and changes nothing in the source', async () => {
    await written(['a', 'b', 'c']);
    spoil('journal-1.jsonl', 3);
    const before = readFileSync(file('journal-1.jsonl'), 'utf8');
    await expect(new JsonFileProvider({ directory: from() }).open()).rejects.toMatchObject({
      code: 'STORAGE_CORRUPT',
      place: `${file('journal-1.jsonl')}:3`,
    });
    const report = await salvageJsonFile(from(), to());
    expect(damage(report)).toEqual([`${file('journal-1.jsonl')}:3`, `${file('journal-1.jsonl')}:4`]);
    expect(await keys(to())).toEqual(['a', 'c']);
    expect(readFileSync(file('journal-1.jsonl'), 'utf8')).toBe(before);
  });

  it('takes the lines of a journal whose first line is damaged, and reports that they are not verified', async () => {
    await written(['a', 'b']);
    spoil('journal-1.jsonl', 1);
    expect(damage(await salvageJsonFile(from(), to()))).toEqual([`${file('journal-1.jsonl')}:1`]);
    expect(await keys(to())).toEqual(['a', 'b']);
  });

  it('reports missing files', async () => {
    await written(['a']);
    await written(['b']);
    await written(['c']);
    rmSync(file('journal-2.jsonl'));
    expect(damage(await salvageJsonFile(from(), to()))).toEqual([
      file('journal-2.jsonl'),
      `${file('journal-3.jsonl')}:2`,
    ]);
    expect(await keys(to())).toEqual(['a', 'c']);
    for (const name of readdirSync(join(from(), 'tenant.acme'))) rmSync(file(name));
    expect(damage(await salvageJsonFile(from(), join(root, 'again')))).toEqual([join(from(), 'tenant.acme')]);
    writeFileSync(file('journal-1.jsonl.bak'), '');
    expect(damage(await salvageJsonFile(from(), join(root, 'once more')))).toEqual([
      join(from(), 'tenant.acme'),
    ]);
  });

  it('needs an empty target', async () => {
    await written(['a']);
    await expect(salvageJsonFile(from(), from())).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });
});
