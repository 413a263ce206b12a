import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import type { Change } from '../../core/port/storage-provider.js';
import { withModes, type FileSystem, type OpenFile, type OpenMode } from './disk/file-system.js';
import { nodeFileSystem } from './disk/node-file-system.js';
import { ManualClock } from '../../testing/kit/manual-clock.js';
import {
  bench,
  provider,
  open,
  address,
  put,
  batch,
  commit,
  read,
  failed,
  failOn,
  killed,
} from './spec-support.js';

describe('many tenants', () => {
  const names = Array.from({ length: 30 }, (_, index) => `tenant:t${index}`);
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  /** Counts the journals that are open for writing. */
  function counting(): { readonly fileSystem: FileSystem; now: number; most: number } {
    const counted = {
      now: 0,
      most: 0,
      fileSystem: {
        ...withModes(nodeFileSystem, { directoryMode: 0o700, fileMode: 0o600 }),
        open: async (path: string, mode: OpenMode): Promise<OpenFile> => {
          const file = await nodeFileSystem.open(path, mode);
          if (mode === 'read' || !path.includes('journal')) return file;
          counted.now += 1;
          counted.most = Math.max(counted.most, counted.now);
          const close = file.close.bind(file);
          file.close = async () => {
            counted.now -= 1;
            await close();
          };
          return file;
        },
      },
    };
    return counted;
  }

  it('never hold more than openJournalsMax journals open, and lose nothing', async () => {
    for (const openJournalsMax of [1, 4]) {
      const counted = counting();
      const directory = join(bench.root, `max-${openJournalsMax}`);
      const store = await open({ directory, fileSystem: counted.fileSystem, openJournalsMax });
      for (const name of names) await commit(store, batch([put('first')], [], name));
      for (let round = 0; round < 3; round += 1) {
        const results = await Promise.all(
          names.map((name) => commit(store, batch([put(`k${round}`)], [], name))),
        );
        expect(results.map((each) => failed(each)?.message ?? each.outcome)).toEqual(
          names.map(() => 'committed'),
        );
      }
      expect(counted.most).toBe(openJournalsMax);
      expect(readdirSync(join(directory, 'tenant.t7'))).toEqual(['journal-1.jsonl']);
      await store.close();
      expect(counted.now).toBe(0);
      // none of them needs recovery
      const again = await open({ directory, openJournalsMax });
      for (const name of names) expect(await read(again, 'k2', name)).toBeDefined();
      expect(readdirSync(join(directory, 'tenant.t7'))).toEqual(['journal-1.jsonl']);
      // as if that process was killed: all of them need recovery
      const recovered = await open({
        directory,
        fileSystem: counted.fileSystem,
        processes: killed,
        openJournalsMax,
      });
      await commit(recovered, batch([put('last')], [], 'tenant:t7'));
      expect(readdirSync(join(directory, 'tenant.t7')).sort()).toEqual([
        'journal-2.jsonl',
        'snapshot-2.json',
      ]);
      // a suspended journal may still be closing while the next one is created
      expect(counted.most).toBeLessThanOrEqual(openJournalsMax);
    }
    for (const wrong of [0, 1.5, Number.NaN])
      expect(() => provider({ openJournalsMax: wrong })).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTION' }),
      );
  });

  it('pass a journal slot on, whenever it is requested', async () => {
    const store = await open({ openJournalsMax: 1 });
    for (let round = 0; round < 60; round += 1) {
      await commit(store, batch([put('a')], [], 'tenant:t1'));
      const other = turn().then(() => commit(store, batch([put('a')], [], 'tenant:t2')));
      for (let wait = 0; wait < round % 12; wait += 1) await Promise.resolve();
      await commit(store, batch([put('b')], [], 'tenant:t1'));
      expect(await other).toMatchObject({ outcome: 'committed' });
    }
  });

  it('are forgotten if they only read or delete missing rows; a commit at that moment is not lost', async () => {
    const store = await open();
    const gone: Change = { kind: 'delete', address: address('a') };
    await Promise.all(names.map((name) => commit(store, batch([gone], [], name))));
    await Promise.all(names.map((name) => store.administration.drop(name)));
    await commit(store, batch([put('a')]));
    await store.sweep(10);
    while (store.databasesKnown > 1) await turn();
    expect(store.databasesKnown).toBe(1);
    for (let round = 0; round < 100; round += 1) {
      const asked = commit(store, batch([gone], [], 'tenant:t1'));
      if (round % 3 > 0) await turn();
      for (let wait = 0; wait < round % 7; wait += 1) await Promise.resolve();
      expect(await commit(store, batch([put(`k${round}`)], [], 'tenant:t1'))).toMatchObject({
        outcome: 'committed',
      });
      await asked;
      expect(await store.administration.drop('tenant:t1')).toBe(true);
    }
  });

  it('are swept and compacted although one of them cannot be written to', async () => {
    const clock = new ManualClock();
    const store = await open({ clock });
    const expiring: Change = { ...(put('a', '"expired"') as Change & { kind: 'put' }), ttl: 1_000 };
    const three = names.slice(0, 3);
    for (const name of three) await commit(store, batch([expiring], [], name));
    failOn(/^sync journal/);
    expect(failed(await commit(store, batch([put('b')], [], 'tenant:t0')))).toBeDefined();
    bench.disk.fail = () => undefined;
    await clock.advance(1_000);
    const filesOf = (name: string): string => {
      const directory = join(bench.root, name.replace(':', '.'));
      return readdirSync(directory)
        .map((file) => readFileSync(join(directory, file), 'utf8'))
        .join('');
    };
    await expect(store.administration.compact?.()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    expect(three.filter((name) => filesOf(name).includes('expired'))).toEqual(['tenant:t0']);

    for (const name of three.slice(1)) await commit(store, batch([expiring], [], name));
    await clock.advance(1_000);
    await expect(store.sweep(10)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', done: 2 });
    await expect(store.sweep(10)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', done: 0 });
  });

  it('are not written to if their journal was replaced while it was suspended', async () => {
    const store = await open({ openJournalsMax: 1 });
    await commit(store, batch([put('a')], [], 'tenant:t1'));
    await commit(store, batch([put('a')], [], 'tenant:t2'));
    const path = join(bench.root, 'tenant.t1', 'journal-1.jsonl');
    const other = readFileSync(join(bench.root, 'tenant.t2', 'journal-1.jsonl'));
    writeFileSync(path, other);
    expect(failed(await commit(store, batch([put('b')], [], 'tenant:t1')))).toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      effect: 'none',
    });
    expect(readFileSync(path)).toEqual(other);
  });
});
