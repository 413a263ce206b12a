import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MemoryProvider } from '@kvent/key-value-storage';
import { copyStorage, isStorageError, type RawRow } from '@kvent/key-value-storage/core';
import { ManualClock } from '@kvent/key-value-storage/testing';
import { BackupFile } from './backup-file.js';
import { writeBackup } from './write-backup.js';

const clock = new ManualClock();
const databases = ['shared', 'tenant:acme', 'tenant:globex'];
let folder: string;
let source: MemoryProvider;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'kvent-backup-'));
  source = new MemoryProvider({ clock });
  await source.open();
});
afterEach(async () => {
  await source.close();
  rmSync(folder, { recursive: true });
});

const path = (name = 'b.jsonl'): string => join(folder, name);
const row = (key: string, text = '{"a":1}', expiresAt?: number): RawRow => ({
  container: 'state:state',
  entity: 'a',
  key,
  row: { version: '7', value: { kind: 'json', text }, updatedAt: 1, ...(expiresAt === undefined ? {} : { expiresAt }) },
});

async function backUp(rows: readonly RawRow[], name = 'b.jsonl', chosen = databases): Promise<Buffer> {
  for (const database of chosen) await source.administration.import(database, rows);
  await writeBackup(source, path(name), { databases: chosen, signal: new AbortController().signal, onRows: () => undefined });
  return readFileSync(path(name));
}

/** The code with which a file is refused; `undefined` where it is sound. */
async function refusalOf(bytes: Buffer | string): Promise<string | undefined> {
  writeFileSync(path('judged'), bytes);
  try {
    await using _ = await BackupFile.open(path('judged'));
    return undefined;
  } catch (error) {
    if (isStorageError(error)) return error.code;
    throw error;
  }
}

async function keysOf(file: BackupFile, database: string): Promise<readonly string[]> {
  const keys: string[] = [];
  for await (const { key } of file.administration.export(database)) keys.push(key);
  return keys;
}

describe('a backup', () => {
  it('with any bit turned in any byte is refused', async () => {
    const sound = await backUp([row('1')], 'b.jsonl', ['shared']);
    expect(await refusalOf(sound)).toBeUndefined();
    for (let at = 0; at < sound.length; at += 1) {
      const spoilt = Buffer.from(sound);
      spoilt[at] = (spoilt[at] ?? 0) ^ (1 << (at % 8));
      expect(`${at} ${String(await refusalOf(spoilt))}`).toMatch(/^\d+ (STORAGE_CORRUPT|STORAGE_UNSUPPORTED|INVALID_OPTION)$/);
    }
  });

  it('that is zipped, with any bit turned, is refused, or holds the same still', async () => {
    const sound = await backUp([row('1')], 'b.jsonl.gz', ['shared']);
    const text = gunzipSync(sound).toString();
    let same = 0;
    for (let at = 0; at < sound.length; at += 1) {
      const spoilt = Buffer.from(sound);
      spoilt[at] = (spoilt[at] ?? 0) ^ (1 << (at % 8));
      if ((await refusalOf(spoilt)) !== undefined) continue;
      expect(gunzipSync(spoilt).toString()).toBe(text);
      same += 1;
    }
    // the header of gzip has fields that mean nothing for what it holds
    expect(same).toBeLessThan(10);
  });

  it('that is cut off anywhere, or goes on behind its end, is refused', async () => {
    const sound = await backUp([row('1'), row('2')], 'b.jsonl', ['shared']);
    for (let length = 0; length < sound.length - 1; length += 1) expect(await refusalOf(sound.subarray(0, length))).toBeDefined();
    for (const more of ['\n', '{}\n', sound.toString()]) expect(await refusalOf(`${sound.toString()}${more}`)).toBe('STORAGE_CORRUPT');
    const zipped = gzipSync(sound);
    for (let length = 0; length < zipped.length; length += 1) expect(await refusalOf(zipped.subarray(0, length))).toBeDefined();
  });

  it('of lines that were left out, doubled or moved is refused', async () => {
    const lines = (await backUp([row('1'), row('2'), row('3')])).toString().trimEnd().split('\n');
    const joined = (edited: readonly string[]): string => `${edited.join('\n')}\n`;
    for (let at = 0; at < lines.length; at += 1) {
      expect(await refusalOf(joined(lines.toSpliced(at, 1)))).toBeDefined();
      expect(await refusalOf(joined(lines.toSpliced(at, 0, lines[at] ?? '')))).toBeDefined();
      if (at > 0) expect(await refusalOf(joined(lines.toSpliced(at - 1, 2, lines[at] ?? '', lines[at - 1] ?? '')))).toBeDefined();
    }
  });

  it('gives its databases in any order, again and again, also after one was left in the middle', async () => {
    const keys = Array.from({ length: 3_000 }, (_, index) => String(index).padStart(4, '0'));
    await backUp(
      keys.map((key) => row(key)),
      'b.jsonl.gz',
    );
    await using file = await BackupFile.open(path('b.jsonl.gz'));
    expect(await file.administration.databases()).toEqual(databases);
    for (const database of ['tenant:acme', 'tenant:globex', 'shared', 'shared', 'tenant:globex', 'shared'])
      expect(await keysOf(file, database)).toEqual(keys);
    for await (const _ of file.administration.export('tenant:acme')) break;
    expect(await keysOf(file, 'tenant:acme')).toEqual(keys);
    expect(await keysOf(file, 'tenant:nobody')).toEqual([]);
    expect(await keysOf(file, 'shared')).toEqual(keys);
  });

  it('that is changed between two readings is found out', async () => {
    const sound = (await backUp([row('1', '{"a":1}')])).toString();
    await using file = await BackupFile.open(path());
    writeFileSync(path(), sound.replaceAll('{"a":1}', '{"a":2}'));
    await expect(keysOf(file, 'tenant:acme')).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' });
  });

  it('is restored without what has expired since', async () => {
    const now = clock.now();
    await backUp([row('1', '1', now + 1_000), row('2', '2', now + 5_000), row('3')]);
    const target = new MemoryProvider({ clock });
    await target.open();
    await clock.advance(1_000);
    await using file = await BackupFile.open(path());
    const restored = await copyStorage(file, target);
    expect(restored.databases.map(({ rows }) => rows)).toEqual([2, 2, 2]);
    expect(file.summary.databases.map(({ rows }) => rows)).toEqual([3, 3, 3]);
  });

  it('of a later format says so', async () => {
    const sound = (await backUp([row('1')])).toString();
    expect(await refusalOf(sound.replace('"format":1', '"format":2'))).toBe('STORAGE_UNSUPPORTED');
  });

  it('is not made of an unfinished copy', async () => {
    const target = new MemoryProvider({ clock });
    await target.open();
    await backUp([row('1')]);
    const stop = new AbortController();
    const broken = copyStorage(source, target, {
      signal: stop.signal,
      onProgress: ({ step }) => void (step === 'comparing' && stop.abort()),
    });
    await expect(broken).rejects.toMatchObject({ code: 'ABORTED' });
    const options = { databases, signal: new AbortController().signal, onRows: () => undefined };
    await expect(writeBackup(target, path('no.jsonl'), options)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  it('that the disk has no place for leaves nothing behind', async () => {
    const options = { databases: [], signal: new AbortController().signal, onRows: () => undefined };
    await expect(writeBackup(source, path('no/such/folder.jsonl'), options)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  });
});
