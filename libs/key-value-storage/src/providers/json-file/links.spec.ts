import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { salvageJsonFile } from './salvage.js';
import { bench, opened, provider, open, put, batch, commit, killed } from './spec-support.js';

describe('a link, a FIFO or a directory in place of a file of the store', () => {
  const unique = '0123456789abcdef';
  let victim: string;
  const contents = (): readonly string[] =>
    readdirSync(victim).map((name) => `${name} ${readFileSync(join(victim, name), 'utf8')}`);
  const untouched = ['diary.txt mine', 'journal-1.jsonl mine'];

  beforeEach(() => {
    victim = mkdtempSync(join(tmpdir(), 'kvent-victim-'));
    for (const name of ['diary.txt', 'journal-1.jsonl']) writeFileSync(join(victim, name), 'mine');
  });
  afterEach(() => rmSync(victim, { recursive: true }));

  it.each([
    `.dropped-${unique}-x`,
    `.dropped-${unique}-tenant.acme`,
    `.new-${unique}`,
    `.lock-${unique}`,
    `.kvent.json.${unique}.tmp`,
  ])('as the link %s is taken away, and what it leads to stays', async (name) => {
    await (await open()).close();
    symlinkSync(victim, join(bench.root, name));
    await open();
    expect(contents()).toEqual(untouched);
    expect(readdirSync(bench.root)).not.toContain(name);
  });

  it('stays where the name is one of a file, and it is a directory', async () => {
    await (await open()).close();
    const path = join(bench.root, `.kvent.json.${unique}.tmp`);
    mkdirSync(path);
    writeFileSync(join(path, 'diary.txt'), 'mine');
    await open();
    expect(readdirSync(path)).toEqual(['diary.txt']);
  });

  it.each(['tenant.acme', 'shared', 'notes'])(
    'as a link in the place of the database %s is refused, with or without a marker',
    async (name) => {
      for (const marker of [false, true]) {
        if (marker) {
          rmSync(join(bench.root, name));
          await (await open()).close();
        }
        symlinkSync(victim, join(bench.root, name));
        await expect(provider().open()).rejects.toMatchObject({
          code: 'STORAGE_CORRUPT',
          effect: 'none',
          place: join(bench.root, name),
        });
        expect(contents()).toEqual(untouched);
        expect(existsSync(join(bench.root, '.lock.json'))).toBe(false);
      }
    },
  );

  it.each(['tenant.acme', 'shared'])('as a file in the place of the database %s is refused', async (name) => {
    await (await open()).close();
    const place = join(bench.root, name);
    writeFileSync(place, 'mine');
    await expect(provider().open()).rejects.toMatchObject({ code: 'STORAGE_CORRUPT', effect: 'none', place });
    const { databases } = await salvageJsonFile(bench.root, join(victim, 'copy'));
    expect(databases).toMatchObject([{ rows: 0, damage: [{ place }] }]);
    writeFileSync(join(bench.root, 'notes'), 'mine');
    rmSync(place);
    await open();
  });

  const kinds: Readonly<Record<string, (path: string) => void>> = {
    FIFO: (path) => void execFileSync('mkfifo', [path]),
    link: (path) => symlinkSync(join(victim, 'diary.txt'), path),
    'link to nothing': (path) => symlinkSync(join(victim, 'nothing'), path),
    directory: (path) => void mkdirSync(path),
  };
  it.each(
    ['.lock.json', '.kvent.json', 'tenant.acme/journal-1.jsonl', 'tenant.acme/snapshot-2.json'].flatMap(
      (file) => Object.keys(kinds).map((kind) => [file, kind] as const),
    ),
  )('%s as a %s is refused at once', async (file, kind) => {
    const store = await open();
    await commit(store, batch([put('a')]));
    await store.close();
    if (file.includes('snapshot')) await commit(await open({ processes: killed }), batch([put('b')]));
    if (file.includes('snapshot')) await opened.pop()?.close();
    const path = join(bench.root, file);
    rmSync(path, { force: true });
    (kinds[kind] as (path: string) => void)(path);
    const refused = provider({ lockTimeoutMs: 600_000 }).open();
    await expect(refused).rejects.toMatchObject({ code: 'STORAGE_CORRUPT', effect: 'none', place: path });
    expect(contents()).toEqual(untouched);
  });
});
