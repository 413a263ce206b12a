/**
 * The simulated disk itself: it forgets what a disk may forget, and keeps what a disk must keep.
 */
import { describe, expect, it } from '@jest/globals';
import type {
  FileSystem,
  OpenFile,
} from '../../libs/key-value-storage/src/providers/json-file/disk/file-system.js';
import { pageBytes, sectorBytes } from './page-cache.js';
import { SimulatedDisk } from './simulated-disk.js';

const bytes = (text: string): Uint8Array => Buffer.from(text);
const seeds = Array.from({ length: 200 }, (_, seed) => seed);

async function fileOn(fileSystem: FileSystem, text: string, name = '/file'): Promise<OpenFile> {
  const file = await fileSystem.open(name, 'create');
  await file.write(bytes(text), 0);
  return file;
}

/** A disk with one file, whose name and content are on disk. */
async function diskWithFile(
  text: string,
): Promise<{ disk: SimulatedDisk; fileSystem: FileSystem; file: OpenFile }> {
  const disk = new SimulatedDisk();
  const { fileSystem } = disk.process();
  const file = await fileOn(fileSystem, text);
  await file.sync();
  await fileSystem.syncDirectory('/');
  expect(disk.unsynced()).toEqual([]);
  return { disk, fileSystem, file };
}

/** The contents of a file after a power cut, over all seeds. */
const outcomes = (disk: SimulatedDisk, path = '/file'): Set<string> =>
  new Set(
    seeds.map((seed) => {
      const after = disk.afterPowerCut(seed);
      return after.files().includes(path) ? after.textOf(path) : '(none)';
    }),
  );

describe('the simulated disk', () => {
  it('keeps synced names and contents', async () => {
    const { disk } = await diskWithFile('one');
    expect(outcomes(disk)).toEqual(new Set(['one']));
  });

  it('may forget the name of a synced file, until its directory is synced', async () => {
    const disk = new SimulatedDisk();
    const { fileSystem } = disk.process();
    const file = await fileOn(fileSystem, 'one');
    await file.sync();
    expect(outcomes(disk)).toEqual(new Set(['one', '(none)']));
    await fileSystem.syncDirectory('/');
    expect(outcomes(disk)).toEqual(new Set(['one']));
  });

  it('may forget a folder with all files, until the folder above is synced', async () => {
    const disk = new SimulatedDisk();
    const { fileSystem } = disk.process();
    expect(await fileSystem.makeDirectory('/folder')).toBe(true);
    expect(await fileSystem.makeDirectory('/folder')).toBe(false);
    await (await fileOn(fileSystem, 'one', '/folder/file')).sync();
    await fileSystem.syncDirectory('/folder');
    expect(outcomes(disk, '/folder/file')).toEqual(new Set(['one', '(none)']));
    await fileSystem.syncDirectory('/');
    expect(outcomes(disk, '/folder/file')).toEqual(new Set(['one']));
  });

  it('keeps content without size and size without content', async () => {
    const { disk, file } = await diskWithFile('one');
    await file.write(bytes('two'), 3);
    expect(outcomes(disk)).toEqual(new Set(['one', 'onetwo', 'one\0\0\0']));
    await file.sync();
    expect(outcomes(disk)).toEqual(new Set(['onetwo']));
  });

  it('writes pages back in any order', async () => {
    const { disk, file } = await diskWithFile('a'.repeat(2 * pageBytes));
    await file.write(bytes('b'.repeat(2 * pageBytes)), 0);
    const found = new Set(
      [...outcomes(disk)].map((text) => `${text.charAt(0)}${text.charAt(2 * pageBytes - 1)}`),
    );
    expect(found).toEqual(new Set(['aa', 'ab', 'ba', 'bb']));
  });

  it('tears pages at sectors, and nowhere else', async () => {
    const { disk, file } = await diskWithFile('a'.repeat(pageBytes));
    await file.write(bytes('b'.repeat(pageBytes)), 0);
    const lengths = [...outcomes(disk)].map((text) => text.search(text.startsWith('a') ? /b|$/ : /a|$/));
    expect(lengths.every((length) => length % sectorBytes === 0)).toBe(true);
    expect(new Set(lengths).size).toBeGreaterThan(5);
  });

  it('may keep any state of a page since the last sync', async () => {
    const { disk, file } = await diskWithFile('1');
    for (const text of ['2', '3', '4']) await file.write(bytes(text), 0);
    expect(outcomes(disk)).toEqual(new Set(['1', '2', '3', '4']));
  });

  it('may forget a write during a sync', async () => {
    const { disk, file } = await diskWithFile('1');
    await file.write(bytes('2'), 0);
    const syncing = file.sync();
    await file.write(bytes('3'), 0);
    await syncing;
    expect(outcomes(disk)).toEqual(new Set(['2', '3']));
  });

  it('never repairs a failed sync, also by later successful syncs', async () => {
    const { disk, file } = await diskWithFile('1');
    await file.write(bytes('2'), 0);
    disk.fail({ call: 'sync', nth: 1, code: 'EIO' });
    await expect(file.sync()).rejects.toMatchObject({ code: 'EIO' });
    await file.sync();
    expect(outcomes(disk)).toEqual(new Set(['1', '2']));
    await file.write(bytes('3'), 0);
    await file.sync();
    expect(outcomes(disk)).toEqual(new Set(['3']));
  });

  it('renames completely or not at all, and may forget it until the directory is synced', async () => {
    const { disk, fileSystem } = await diskWithFile('old');
    await (await fileOn(fileSystem, 'new', '/new')).sync();
    await fileSystem.syncDirectory('/');
    await fileSystem.rename('/new', '/file');
    const found = new Set(
      seeds
        .map((seed) => disk.afterPowerCut(seed))
        .map((after) => `${after.files().join(' ')} ${after.textOf('/file')}`),
    );
    expect(found).toEqual(new Set(['/file /new old', '/file new']));
    await fileSystem.syncDirectory('/');
    expect(outcomes(disk)).toEqual(new Set(['new']));
  });

  it('may keep any subset of changes of names', async () => {
    const disk = new SimulatedDisk();
    const { fileSystem } = disk.process();
    for (const name of ['/a', '/b']) await fileSystem.open(name, 'create');
    const found = new Set(seeds.map((seed) => disk.afterPowerCut(seed).files().join(' ')));
    expect(found).toEqual(new Set(['', '/a', '/b', '/a /b']));
  });

  it('fails the given call, without its effect, with a part of it, or with all of it', async () => {
    const { disk, file } = await diskWithFile('....');
    const written = async (effect: 'none' | 'part' | 'whole', bytesWritten?: number): Promise<string> => {
      await file.write(bytes('....'), 0);
      disk.fail({
        call: 'write',
        nth: 2,
        code: 'ENOSPC',
        effect,
        ...(bytesWritten === undefined ? {} : { bytes: bytesWritten }),
      });
      await file.write(bytes('1'), 0);
      await expect(file.write(bytes('abcd'), 0)).rejects.toMatchObject({ code: 'ENOSPC' });
      expect(disk.struck).toBe(true);
      return disk.textOf('/file');
    };
    expect(await written('none')).toBe('1...');
    expect(await written('part')).toBe('ab..');
    expect(await written('part', 1)).toBe('a...');
    expect(await written('whole')).toBe('abcd');
    await expect(file.write(bytes('1'), 0)).resolves.toBe(1);
  });

  it('changes nothing after a power cut, and counts the steps before it', async () => {
    const { disk, file, fileSystem } = await diskWithFile('1');
    const before = disk.steps;
    disk.cutPowerAfter(2);
    await file.write(bytes('2'), 0);
    await file.read(new Uint8Array(1), 0);
    await file.sync();
    await expect(file.write(bytes('3'), 0)).rejects.toMatchObject({ code: 'EIO' });
    await expect(fileSystem.list('/')).rejects.toMatchObject({ code: 'EIO' });
    expect(disk.steps - before).toBe(2);
    expect(outcomes(disk)).toEqual(new Set(['2']));
  });

  it('does not sync if the power is cut during it', async () => {
    const { disk, file, fileSystem } = await diskWithFile('1');
    await file.write(bytes('2'), 0);
    disk.cutPowerAfter(1);
    const syncing = expect(file.sync()).rejects.toMatchObject({ code: 'EIO' });
    await fileSystem.open('/other', 'create');
    await syncing;
    expect(outcomes(disk)).toEqual(new Set(['1', '2']));
  });

  it('keeps the cache of a killed process', async () => {
    const disk = new SimulatedDisk();
    const first = disk.process();
    const file = await fileOn(first.fileSystem, 'one');
    first.kill();
    await expect(file.sync()).rejects.toThrow('the process was killed');
    expect(disk.textOf('/file')).toBe('one');
    expect(outcomes(disk).has('(none)')).toBe(true);
    const second = await disk.process().fileSystem.open('/file', 'read');
    await second.sync();
    expect(outcomes(disk)).toEqual(new Set(['one', '(none)']));
  });

  it('fails with the codes of Node', async () => {
    const { disk, fileSystem, file } = await diskWithFile('one');
    await expect(fileSystem.open('/file', 'create')).rejects.toMatchObject({ code: 'EEXIST' });
    await expect(fileSystem.open('/none', 'read')).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(fileSystem.rename('/none', '/file')).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(fileSystem.remove('/none')).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(fileSystem.makeDirectory('/a/b')).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await fileSystem.list('/none')).toBeUndefined();
    await fileSystem.makeDirectory('/a');
    await fileSystem.open('/a/b', 'create');
    await expect(fileSystem.removeDirectory('/a')).rejects.toMatchObject({ code: 'ENOTEMPTY' });
    await fileSystem.remove('/file');
    const into = new Uint8Array(10);
    expect(await file.read(into, 1)).toBe(2);
    expect(await file.read(into, 3)).toBe(0);
    expect(await file.size()).toBe(3);
    await file.truncate(1);
    await file.close();
    await expect(file.size()).rejects.toMatchObject({ code: 'EBADF' });
    expect(disk.files()).toEqual(['/a/b']);
  });

  it('transfers fewer bytes than requested', async () => {
    const { disk, file } = await diskWithFile('');
    disk.transferShort();
    const text = 'x'.repeat(1_000);
    let at = 0;
    let calls = 0;
    for (; at < text.length; calls += 1) at += await file.write(bytes(text).subarray(at), at);
    expect(calls).toBeGreaterThan(2);
    expect(disk.textOf('/file')).toBe(text);
  });
});
