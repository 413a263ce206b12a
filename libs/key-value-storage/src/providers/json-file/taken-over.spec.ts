/** An owner that was suspended in a call of the disk continues after another process took over. */
import { mkdirSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import type { FileSystem } from './disk/file-system.js';
import { nodeFileSystem } from './disk/node-file-system.js';
import { salvageJsonFile } from './salvage.js';
import {
  batch,
  bench,
  commit,
  database,
  failed,
  failOn,
  failure,
  killed,
  open,
  provider,
  put,
  read,
  text,
} from './spec-support.js';

/** The disk of an owner that is suspended before a write or a rename. */
class Suspending {
  /** The call and the path. */
  before: RegExp | undefined;
  /** Whether further renames fail, as if the process was killed. */
  killed = false;
  readonly suspended: Promise<void>;
  #suspend = (): void => undefined;
  #resume = (): void => undefined;
  readonly #resumed: Promise<void>;

  constructor() {
    this.suspended = new Promise((resolve) => (this.#suspend = resolve));
    this.#resumed = new Promise((resolve) => (this.#resume = resolve));
  }

  resume(): void {
    this.#resume();
  }

  readonly fileSystem: FileSystem = {
    ...nodeFileSystem,
    open: async (path, ...rest) => {
      const file = await nodeFileSystem.open(path, ...rest);
      const write = file.write.bind(file);
      file.write = async (...all) => {
        await this.#reach(`write ${path}`);
        return await write(...all);
      };
      return file;
    },
    rename: async (from, to) => {
      if (this.killed) throw failure('EIO');
      await this.#reach(`rename ${from}`);
      await nodeFileSystem.rename(from, to);
    },
  };

  async #reach(call: string): Promise<void> {
    if (this.before?.test(call) !== true) return;
    this.before = undefined;
    this.#suspend();
    await this.#resumed;
  }
}

describe('an owner that was suspended', () => {
  it('before a write changes nothing, also if the first successor could not open', async () => {
    const disk = new Suspending();
    const owner = await open({ fileSystem: disk.fileSystem, openJournalsMax: 1 });
    await commit(owner, batch([put('a')]));
    // closes the journal of the first database, with an end mark
    await commit(owner, batch([put('a')], [], 'tenant:other'));
    disk.before = /^write .*acme/;
    const late = commit(owner, batch([put('late')]));
    await disk.suspended;
    failOn(/^create journal/, 'ENOSPC');
    await expect(provider({ processes: killed }).open()).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
    });
    bench.disk.fail = () => undefined;
    const successor = await open({ processes: killed });
    await commit(successor, batch([put('a', '2')]));
    disk.resume();
    expect(failed(await late)).toMatchObject({ code: 'STORAGE_OUTCOME_UNKNOWN' });
    await commit(successor, batch([put('b')]));
    await successor.close();
    const next = await open();
    expect([text(await read(next, 'a')), text(await read(next, 'b'))]).toEqual(['2', '1']);
    expect(await read(next, 'late')).toBeUndefined();
  });

  it.each(['goes on', 'is killed'])(
    'before the rename of a drop, and %s after it, takes no commit of its successor away',
    async (then) => {
      const disk = new Suspending();
      const owner = await open({ fileSystem: disk.fileSystem });
      await commit(owner, batch([put('a')]));
      disk.before = /^rename .*acme/;
      const drop = owner.administration.drop(database);
      await disk.suspended;
      const successor = await open({ processes: killed });
      await commit(successor, batch([put('a', '2')]));
      disk.killed = then === 'is killed';
      disk.resume();
      await expect(drop).rejects.toMatchObject({ code: 'STORAGE_OUTCOME_UNKNOWN' });
      const dropped = readdirSync(bench.root).filter((name) => name.startsWith('.dropped'));
      expect(dropped).toHaveLength(disk.killed ? 1 : 0);
      expect(await commit(successor, batch([put('b')]))).toMatchObject({ outcome: 'committed' });
      await successor.close();
      for (const name of dropped) {
        const place = join(bench.root, name);
        const reader = provider({ readOnly: true });
        await expect(reader.open()).rejects.toMatchObject({ code: 'STORAGE_CORRUPT', place });
        const { databases } = await salvageJsonFile(bench.root, join(bench.root, 'copy'));
        expect(databases).toMatchObject([{ database, rows: 0, damage: [{ place }] }]);
      }
      const next = await open();
      expect([text(await read(next, 'a')), text(await read(next, 'b'))]).toEqual(['2', '1']);
    },
  );
});

it('a dropped directory with newer commits is refused, not removed, where there is another one of its name', async () => {
  const store = await open();
  await commit(store, batch([put('a')]));
  await store.close();
  const place = join(bench.root, '.dropped-0123456789abcdef.0-tenant.acme');
  renameSync(join(bench.root, 'tenant.acme'), place);
  mkdirSync(join(bench.root, 'tenant.acme'));
  await expect(store.open()).rejects.toMatchObject({ code: 'STORAGE_CORRUPT', place });
  expect(readdirSync(place)).toEqual(['journal-1.jsonl']);
});
