import { lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { systemClock } from '../../core/base/clock.js';
import type { FileSystem } from './disk/file-system.js';
import { nodeFileSystem } from './disk/node-file-system.js';
import { systemProcesses } from './lock/process-identity.js';
import { StoreFollower } from './store-follower.js';
import {
  address,
  bench,
  database,
  provider,
  open,
  put,
  batch,
  commit,
  read,
  text,
  failed,
  killed,
} from './spec-support.js';

describe('a store opened with readOnly', () => {
  const files = (): Record<string, string> =>
    Object.fromEntries(
      readdirSync(bench.root, { recursive: true, encoding: 'utf8' })
        .sort()
        .map((name) => [
          name,
          lstatSync(join(bench.root, name)).isFile() ? readFileSync(join(bench.root, name), 'utf8') : '',
        ]),
    );

  it('changes nothing, not even what a dead owner left, and restores the lock of that owner', async () => {
    const store = await open();
    await commit(store, batch([put('a')]));
    const lock = readFileSync(join(bench.root, '.lock.json'));
    await store.close();
    writeFileSync(join(bench.root, '.lock.json'), lock);
    mkdirSync(join(bench.root, '.dropped-0123456789abcdef-x'));
    const journal = join(bench.root, 'tenant.acme', 'journal-1.jsonl');
    writeFileSync(journal, readFileSync(journal, 'utf8').trimEnd());
    writeFileSync(join(bench.root, 'tenant.acme', 'snapshot-2.json.0123456789abcdef.tmp'), 'half');
    const before = files();
    const warnings: string[] = [];
    const reader = await open({
      readOnly: true,
      processes: { ...killed, own: systemProcesses().own },
      warn: (message) => warnings.push(message),
    });
    expect(text(await read(reader, 'a'))).toBe('1');
    expect(warnings).toHaveLength(1);
    await expect(provider({ lockTimeoutMs: 0 }).open()).rejects.toMatchObject({ code: 'STORAGE_LOCKED' });
    await reader.close();
    expect(files()).toEqual(before);
    // the next owner recovers what the dead one left
    await open({ processes: killed });
    expect(readdirSync(join(bench.root, 'tenant.acme')).sort()).toEqual([
      'journal-2.jsonl',
      'snapshot-2.json',
    ]);
  });

  it('refuses every write, and creates no store', async () => {
    await expect(provider({ readOnly: true }).open()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    const store = await open();
    await commit(store, batch([put('a')]));
    await store.close();
    const reader = await open({ readOnly: true });
    const refused = { code: 'STORAGE_UNSUPPORTED', effect: 'none' };
    expect(failed(await commit(reader, batch([put('b')])))).toMatchObject(refused);
    await expect(reader.administration.drop(database)).rejects.toMatchObject(refused);
    await expect(reader.administration.import(database, [])).resolves.toBe(0);
    expect(await reader.sweep(10)).toBe(0);
    expect(text(await read(reader, 'a'))).toBe('1');
  });
});

describe('a store that is followed without its lock', () => {
  const now = 1_000_000;
  let [pauses, opens] = [0, 0];

  /** `onOpen` is called before each file that the follower opens. */
  function follower(
    fileSystem: Partial<FileSystem> = {},
    onOpen: () => Promise<unknown> = async () => undefined,
  ): StoreFollower {
    [pauses, opens] = [0, 0];
    return new StoreFollower({
      directory: bench.root,
      fileSystem: {
        ...nodeFileSystem,
        open: async (path, mode) => {
          expect(mode).toBe('read');
          opens += 1;
          await onOpen();
          return await nodeFileSystem.open(path, mode);
        },
        ...fileSystem,
      },
      clock: { ...systemClock, now: () => now, wait: async () => void (pauses += 1) },
    });
  }
  const found = async (from: StoreFollower, key = 'a'): Promise<string | undefined> => {
    await from.refresh(database);
    return text((await from.read([{ database, ...address(key) }])).rows[0]);
  };

  it('is read again when its owner compacted it during the read', async () => {
    const owner = await open();
    await commit(owner, batch([put('a')]));
    const reader = follower({}, async () => {
      if (opens === 1) await owner.administration.compact?.();
    });
    expect(await found(reader)).toBe('1');
    expect(pauses).toBe(1);
    await commit(owner, batch([put('a', '2')]));
    expect(await found(reader)).toBe('2');
  });

  it('is STORAGE_UNAVAILABLE when it changes during every read', async () => {
    const owner = await open();
    await commit(owner, batch([put('a')]));
    const reader = follower({}, async () => await owner.administration.compact?.());
    await expect(reader.refresh(database)).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      effect: 'none',
      message: expect.stringContaining('changed during each of 5 attempts'),
    });
    expect({ pauses, opens }).toEqual({ pauses: 4, opens: 5 });
  });

  it('is read again while another write could leave the same time, and not later', async () => {
    const owner = await open();
    await commit(owner, batch([put('a')]));
    let modifiedMs = now - 1;
    const reader = follower({
      status: async (path) => {
        const status = await nodeFileSystem.status(path);
        return status && { ...status, bytes: 1, modifiedMs };
      },
    });
    expect(await found(reader)).toBe('1');
    await commit(owner, batch([put('a', '2')]));
    expect(await found(reader)).toBe('2');
    modifiedMs = now - 2_001;
    await reader.refresh(database);
    await reader.refresh(database);
    expect(opens).toBe(3);
  });

  it('has no rows of a database that was dropped', async () => {
    const owner = await open();
    await commit(owner, batch([put('a')]));
    const reader = follower();
    expect(await found(reader)).toBe('1');
    expect(await reader.administration.databases()).toEqual([database]);
    await owner.administration.drop(database);
    expect(await found(reader)).toBeUndefined();
    expect(await reader.administration.databases()).toEqual([]);
  });
});
