/**
 * The comparison in the README: each row of the table is a test here, first on the other library
 * and then on Kvent.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { defineState, JsonFileProvider, MemoryProvider, openStorage } from '@kvent/key-value-storage';
import Keyv from 'keyv';
import { SimulatedDisk } from '../faults/simulated-disk.js';
import { pageAt } from './pages.js';

const Numbers = defineState<{ n: number }>('number');
const Things = defineState<{ at: Date; tags: Set<string> }>('thing');
const thing = { at: new Date(0), tags: new Set(['a']) };

class Failing extends MemoryProvider {
  override read(): Promise<never> {
    return Promise.reject(new Error('down'));
  }
}

describe('with keyv and with Kvent:', () => {
  it('a hundred concurrent callers read, change and write one number', async () => {
    const keyv = new Keyv<number>();
    await keyv.set('n', 0);
    await Promise.all(
      Array.from({ length: 100 }, async () => await keyv.set('n', ((await keyv.get('n')) ?? 0) + 1)),
    );
    expect(await keyv.get('n')).toBeLessThan(100);

    await using storage = await openStorage(new MemoryProvider());
    const numbers = storage.store(Numbers);
    await numbers.set('n', { n: 0 });
    await Promise.all(
      Array.from({ length: 100 }, async () => await numbers.update('n', ({ n }) => ({ n: n + 1 }))),
    );
    expect((await numbers.getOrThrow('n')).value.n).toBe(100);
  });

  it('the storage fails during a read', async () => {
    const store = Object.assign(new Map<string, unknown>(), {
      get: () => {
        throw new Error('down');
      },
    });
    const keyv = new Keyv({ store });
    keyv.on('error', () => undefined);
    expect(await keyv.get('k')).toBeUndefined();

    await using storage = await openStorage(new Failing());
    await expect(storage.store(Numbers).get('k')).rejects.toThrow('down');
  });

  it('tenant `a` has a key `b:c`, and tenant `a:b` a key `c`', async () => {
    const store = new Map<string, unknown>();
    await new Keyv({ store, namespace: 'a' }).set('b:c', 'mine');
    expect(await new Keyv({ store, namespace: 'a:b' }).get('c')).toBe('mine');

    await using storage = await openStorage(new MemoryProvider(), { tenant: 'a' });
    const numbers = storage.store(Numbers);
    await numbers.set('b:c', { n: 1 });
    expect(await numbers.forTenant('a:b').get('c')).toBeUndefined();
  });

  it('a value holds a date and a set', async () => {
    const keyv = new Keyv();
    await keyv.set('k', thing);
    expect(await keyv.get('k')).toEqual({ at: '1970-01-01T00:00:00.000Z', tags: {} });

    await using storage = await openStorage(new MemoryProvider());
    expect((await storage.store(Things).set('k', thing)).value).toEqual(thing);
    expect((await storage.store(Things).getOrThrow('k')).value).toEqual(thing);
  });
});

type FileSystem = ReturnType<SimulatedDisk['process']>['fileSystem'];

/** All possible contents of the file after a power cut, over many simulated disks. */
async function afterPowerCut(write: (disk: FileSystem) => Promise<void>): Promise<ReadonlySet<string>> {
  const disk = new SimulatedDisk();
  const { fileSystem } = disk.process();
  const old = await fileSystem.open('/data.json', 'create');
  await old.write(Buffer.from('{"price":10}'), 0);
  await old.sync();
  await fileSystem.syncDirectory('/');
  await write(fileSystem);
  return new Set(
    Array.from({ length: 300 }, (_, seed) => disk.afterPowerCut(seed)).map((after) =>
      after.textOf('/data.json'),
    ),
  );
}

describe('with a handwritten file and with Kvent:', () => {
  it('a power cut after a write was acknowledged', async () => {
    const renamed = async (disk: FileSystem, sync: boolean): Promise<void> => {
      const file = await disk.open('/data.json.tmp', 'create');
      await file.write(Buffer.from('{"price":11}'), 0);
      if (sync) await file.sync();
      await disk.rename('/data.json.tmp', '/data.json');
    };
    // Written to a temporary file and renamed: the old text, the new one, or an empty file. With
    // fsync: the old text or the new one.
    expect(await afterPowerCut(async (disk) => await renamed(disk, false))).toContain('');
    expect(await afterPowerCut(async (disk) => await renamed(disk, true))).toEqual(
      new Set(['{"price":10}', '{"price":11}']),
    );

    const disk = new SimulatedDisk();
    await using storage = await openStorage(
      new JsonFileProvider({ directory: '/data', fileSystem: disk.process().fileSystem }),
    );
    await storage.store(Numbers).set('price', { n: 11 });
    for (let seed = 0; seed < 100; seed += 1) {
      const { fileSystem } = disk.afterPowerCut(seed).process();
      // the process that held the lock has ended
      await fileSystem.remove('/data/.lock.json').catch(() => undefined);
      await using after = await openStorage(new JsonFileProvider({ directory: '/data', fileSystem }));
      expect((await after.store(Numbers).getOrThrow('price')).value.n).toBe(11);
    }
  });
});

describe('the table of the README', () => {
  it('has exactly one row for each of these tests', () => {
    const page = pageAt('README.md');
    const start = page.lines.indexOf('## Comparison');
    const end = page.lines.findIndex((line, index) => index > start && line.startsWith('## '));
    const rows = page.lines
      .slice(start, end)
      .filter((line) => line.startsWith('| ') && !line.startsWith('| |'));
    const source = readFileSync(new URL(import.meta.url), 'utf8');
    const firstCells = rows.map((row) => row.split('|')[1]?.trim() ?? '');
    expect(firstCells.length).toBe(5);
    expect(firstCells.filter((row) => !source.includes(`it('${row}'`))).toEqual([]);
  });
});
