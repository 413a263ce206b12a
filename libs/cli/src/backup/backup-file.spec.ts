import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MemoryProvider } from '@kvent/key-value-storage';
import { copyStorage, isStorageError, limits } from '@kvent/key-value-storage/core';
import type { RawRow } from '@kvent/key-value-storage/provider';
import { hashOfDatabases, RowDigest } from '@kvent/key-value-storage/internal';
import { ManualClock } from '@kvent/key-value-storage/testing';
import { BackupFile } from './backup-file.js';
import { writeBackup } from './write-backup.js';

const clock = new ManualClock();
const databases = ['shared', 'tenant:acme', 'tenant:globex'];
let folder: string;
let source: MemoryProvider;
let files = 0;

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
  row: {
    version: '7',
    value: { kind: 'json', text },
    updatedAt: 1,
    ...(expiresAt === undefined ? {} : { expiresAt }),
  },
});

async function backUp(rows: readonly RawRow[], name = 'b.jsonl', chosen = databases): Promise<Buffer> {
  for (const database of chosen) await source.administration.import(database, rows);
  await writeBackup(source, path(name), {
    databases: chosen,
    signal: new AbortController().signal,
    onRows: () => undefined,
  });
  return readFileSync(path(name));
}

/** The code with which a file is refused; `undefined` if it is intact. */
async function refusalOf(bytes: Buffer | string): Promise<string | undefined> {
  // a new file each time: some file systems flush a file that is overwritten
  const file = path(`checked-${(files += 1)}`);
  writeFileSync(file, bytes);
  try {
    await using _ = await BackupFile.open(file);
    return undefined;
  } catch (error) {
    if (isStorageError(error)) return error.code;
    throw error;
  }
}

async function refusalsOf(contents: readonly Buffer[]): Promise<readonly (string | undefined)[]> {
  const codes: (string | undefined)[] = [];
  for (const bytes of contents) codes.push(await refusalOf(bytes));
  return codes;
}

/** The content with one bit of each byte changed, and cut off at each length. */
const withOneBitChanged = (bytes: Buffer): readonly Buffer[] =>
  Array.from(bytes, (byte, at) => {
    const damaged = Buffer.from(bytes);
    damaged[at] = byte ^ (1 << (at % 8));
    return damaged;
  });
const cutOff = (bytes: Buffer, lengths: number): readonly Buffer[] =>
  Array.from({ length: lengths }, (_, length) => bytes.subarray(0, length));

/** Whether this process has a file open, by the list that Linux has; elsewhere false. */
function isOpen(file: string): boolean {
  const descriptors = '/proc/self/fd';
  if (!existsSync(descriptors)) return false;
  return readdirSync(descriptors).some((name) => {
    try {
      return readlinkSync(join(descriptors, name)) === file;
    } catch {
      return false; // closed in between
    }
  });
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
    for (const [at, code] of (await refusalsOf(withOneBitChanged(sound))).entries())
      expect(`${at} ${String(code)}`).toMatch(/^\d+ (STORAGE_CORRUPT|STORAGE_UNSUPPORTED|INVALID_OPTION)$/);
  });

  it('that is zipped, with any bit turned, is refused, or holds the same still', async () => {
    const sound = await backUp([row('1')], 'b.jsonl.gz', ['shared']);
    const text = gunzipSync(sound).toString();
    const damaged = withOneBitChanged(sound);
    const refusals = await refusalsOf(damaged);
    const accepted = damaged.filter((_, index) => refusals[index] === undefined);
    for (const each of accepted) expect(gunzipSync(each).toString()).toBe(text);
    // the header of gzip has fields without a meaning for the content
    expect(accepted.length).toBeLessThan(10);
  });

  it('that is cut off anywhere, or goes on behind its end, is refused', async () => {
    const sound = await backUp([row('1'), row('2')], 'b.jsonl', ['shared']);
    const zipped = gzipSync(sound);
    for (const files of [cutOff(sound, sound.length - 1), cutOff(zipped, zipped.length)])
      expect((await refusalsOf(files)).filter((code) => code !== undefined)).toHaveLength(files.length);
    for (const more of ['\n', '{}\n', sound.toString()])
      expect(await refusalOf(`${sound.toString()}${more}`)).toBe('STORAGE_CORRUPT');
  });

  it('of lines that were left out, doubled or moved is refused', async () => {
    const lines = (await backUp([row('1'), row('2'), row('3')])).toString().trimEnd().split('\n');
    const joined = (edited: readonly string[]): string => `${edited.join('\n')}\n`;
    for (let at = 0; at < lines.length; at += 1) {
      expect(await refusalOf(joined(lines.toSpliced(at, 1)))).toBeDefined();
      expect(await refusalOf(joined(lines.toSpliced(at, 0, lines[at] ?? '')))).toBeDefined();
      if (at > 0)
        expect(
          await refusalOf(joined(lines.toSpliced(at - 1, 2, lines[at] ?? '', lines[at - 1] ?? ''))),
        ).toBeDefined();
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
    expect(await keysOf(file, 'tenant:unknown')).toEqual([]);
    expect(await keysOf(file, 'shared')).toEqual(keys);
  });

  it('that is changed between two readings is found out', async () => {
    const sound = (await backUp([row('1', '{"a":1}')])).toString();
    await using file = await BackupFile.open(path());
    writeFileSync(path(), sound.replaceAll('{"a":1}', '{"a":2}'));
    await expect(keysOf(file, 'tenant:acme')).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' });
    expect(isOpen(path())).toBe(false);
  });

  it('that is no backup any more is found out, and its file is closed', async () => {
    await backUp([row('1')]);
    await using file = await BackupFile.open(path());
    writeFileSync(path(), 'another file\n'.repeat(100_000));
    await expect(keysOf(file, 'shared')).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    expect(isOpen(path())).toBe(false);
  });

  it('that is exported twice at the same time is closed when it is disposed', async () => {
    await backUp([row('1'), row('2')]);
    {
      await using file = await BackupFile.open(path());
      const both = await Promise.all([keysOf(file, 'shared'), keysOf(file, 'shared')]);
      expect(both).toEqual([
        ['1', '2'],
        ['1', '2'],
      ]);
    }
    expect(isOpen(path())).toBe(false);
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
    await expect(writeBackup(target, path('no.jsonl'), options)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
    });
  });

  it('that the disk has no place for leaves nothing behind', async () => {
    const options = { databases: [], signal: new AbortController().signal, onRows: () => undefined };
    await expect(writeBackup(source, path('no/such/folder.jsonl'), options)).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
    });
  });
});

/** A forged backup: every hash in it fits. */
async function forged(lines: readonly string[], database = 'tenant:acme'): Promise<string> {
  const digest = new RowDigest();
  // the digest asks of a row only its container
  for (const line of lines) await digest.add({ container: 'state:state' } as RawRow, line);
  const { rows, sha256 } = await digest.end();
  const section = { database, rows, sha256 };
  const header = { kvent: 'backup', format: 1, from: 'memory', at: '2026-11-21T06:00:00.000Z' };
  const text = [
    JSON.stringify(header),
    JSON.stringify({ database }),
    ...lines,
    JSON.stringify({ end: database, rows, sha256 }),
    '',
  ].join('\n');
  const before = createHash('sha256').update(text).digest('hex');
  return `${text}${JSON.stringify({ kvent: 'end', databases: 1, rows, sha256: await hashOfDatabases([section]), before })}\n`;
}
const address = '"container":"state:state","entity":"a","key":"k"';
const good = `{${address},"version":"7","updatedAt":1,"json":{"a":1}}`;

describe('a forged backup, in which every sum fits,', () => {
  it('of sound rows is taken', async () => {
    expect(await refusalOf(await forged([good]))).toBeUndefined();
  });

  it.each([
    ['a time beyond every number', good.replace('"updatedAt":1', '"updatedAt":1e400')],
    ['200,000 levels of JSON', good.replace('{"a":1}', `${'['.repeat(200_000)}${']'.repeat(200_000)}`)],
    ['a number beyond 64 bits', good.replace('"json":{"a":1}', `"number":"${2n ** 63n}"`)],
    ['a number of 100,000 digits', good.replace('"json":{"a":1}', `"number":"${'9'.repeat(100_000)}"`)],
    ['a key that is no encoding', good.replace('"key":"k"', '"key":"!x"')],
    ['a key with a line feed', good.replace('"key":"k"', '"key":"a\\n"')],
    ['a broken pair of quotes', good.replace('{"a":1}', '{"a":"1}')],
    ['JSON that ends too early', good.replace('{"a":1}', '1},"json":{')],
    ['a row without its end', good.slice(0, -1)],
    ['bytes that are no base64', good.replace('"json":{"a":1}', '"bytes":"?"')],
  ])('with %s is refused, naming the line', async (_, line) => {
    writeFileSync(path('checked'), await forged([line]));
    const opening = BackupFile.open(path('checked'));
    await expect(opening).rejects.toMatchObject({ code: 'STORAGE_CORRUPT', place: `${path('checked')}:3` });
  });

  it('with a row twice, or out of order, is refused', async () => {
    expect(await refusalOf(await forged([good, good]))).toBe('STORAGE_CORRUPT');
    expect(await refusalOf(await forged([good, good.replace('"key":"k"', '"key":"a"')]))).toBe(
      'STORAGE_CORRUPT',
    );
  });

  it.each(['', 'tenant:a b', `tenant:${'a'.repeat(200)}`, '../../etc', 'a\u0000b'])(
    'of a database that no tenant can have is refused: %j',
    async (name) => {
      expect(await refusalOf(await forged([good], name))).toBe(
        name === '../../etc' ? undefined : 'STORAGE_CORRUPT',
      );
    },
  );
});

describe('a line of a backup', () => {
  it('that never ends is refused at its limit, zipped or not', async () => {
    const { backupLineBytesMax } = limits;
    const begin = '{"kvent":"backup","format":1,"from":"m","at":"x"}\n{"database":"shared"}\n';
    const long = `${begin}${'x'.repeat(backupLineBytesMax + 1)}`;
    for (const bytes of [Buffer.from(long), gzipSync(long)]) {
      writeFileSync(path('checked'), bytes);
      const error: unknown = await BackupFile.open(path('checked')).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'STORAGE_CORRUPT', place: `${path('checked')}:3` });
      expect(String(error)).toContain('backupLineBytesMax');
    }
  });

  it('stays below its limit, whatever a row holds', async () => {
    // each character of such text is written as two: no row takes more
    const text = `"${'\\\\'.repeat((limits.valueBytesMax - 4) / 2)}"\n`;
    await backUp([row('k'.repeat(limits.keyBytesMax), text)], 'b.jsonl', ['shared']);
    await using file = await BackupFile.open(path());
    expect(file.summary.rows).toBe(1);
  });
});
