import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ManualClock } from '../../../testing/kit/manual-clock.js';
import type { FileSystem } from '../disk/file-system.js';
import { acquireLock, type HeldLock } from './lock-file.js';
import { OwnerLiveness } from './liveness.js';
import { lockText, newOwner } from './lock-text.js';
import { nodeFileSystem } from '../disk/node-file-system.js';
import { systemProcesses, type ProcessIdentity, type Processes } from './process-identity.js';

let directory: string;
let clock: ManualClock;
const held: HeldLock[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kvent-lock-'));
  clock = new ManualClock();
});
afterEach(async () => {
  for (const lock of held.splice(0)) await lock.release();
  rmSync(directory, { recursive: true });
});

const own: ProcessIdentity = { host: 'here', boot: 'b', namespace: 'n', pid: 1, started: '1' };
const nobodyGone: Processes = { own, isGone: () => false };

async function acquire(
  options: { processes?: Processes; timeoutMs?: number; fileSystem?: FileSystem } = {},
): Promise<HeldLock> {
  const lock = await acquireLock({
    fileSystem: nodeFileSystem,
    directory,
    clock,
    processes: nobodyGone,
    timeoutMs: 5_000,
    ...options,
  });
  held.push(lock);
  return lock;
}

const path = (): string => join(directory, '.lock.json');
const text = (): string => readFileSync(path(), 'utf8');
const theirs = (beat = 0): string => lockText(newOwner({ ...own, host: 'there', pid: 4_711 }), beat);

/** A new lock has no identity for a while: others see that on a busy disk. */
const slowToName: FileSystem = {
  ...nodeFileSystem,
  open: async (file, mode) => {
    const opened = await nodeFileSystem.open(file, mode);
    for (let turn = 0; mode === 'create' && turn < 50; turn += 1) await setImmediate();
    return opened;
  },
};

/** Advances the clock until the work is settled; the disk answers between the steps. */
async function passUntil<R>(work: Promise<R>, each: () => void = () => undefined): Promise<R> {
  let settled = false;
  const done = (): void => void (settled = true);
  work.then(done, done);
  // without a limit: on a busy disk, one call takes any number of turns
  while (!settled) {
    if (clock.waiting === 0) await setImmediate();
    else {
      each();
      await clock.advance(100);
    }
  }
  return await work;
}

/** They wait for the name of an owner that has just created the lock, so time has to pass. */
const twentyAtOnce = (
  options: Parameters<typeof acquire>[0],
): Promise<readonly PromiseSettledResult<HeldLock>[]> =>
  passUntil(Promise.allSettled(Array.from({ length: 20 }, () => acquire({ timeoutMs: 0, ...options }))));
const disks = [
  { disk: 'fast', fileSystem: nodeFileSystem },
  { disk: 'slow', fileSystem: slowToName },
] as const;

describe('a lock', () => {
  it('names its owner, by pid and host, to a second process when the timeout is over', async () => {
    await acquire({ processes: { ...nobodyGone, own: { ...own, pid: 77, host: 'desk' } } });
    await expect(acquire({ timeoutMs: 0 })).rejects.toMatchObject({
      code: 'STORAGE_LOCKED',
      effect: 'none',
      message: expect.stringContaining('process 77 on desk') as unknown,
    });
  });

  it('is removed when it is released, and the next owner inherits nothing', async () => {
    const first = await acquire();
    const second = acquire();
    await first.release();
    expect((await passUntil(second)).inherited).toBe(false);
    await second.then((lock) => lock.release());
    expect(readdirSync(directory)).toEqual([]);
  });

  it.each(disks)(
    'goes to exactly one of twenty that request it at once, on a $disk disk',
    async ({ fileSystem }) => {
      const results = await twentyAtOnce({ fileSystem });
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const result of results)
        if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'STORAGE_LOCKED' });
    },
  );

  it.each(disks)(
    'goes to exactly one of twenty when its owner is dead, and the others leave nothing behind, on a $disk disk',
    async ({ fileSystem }) => {
      writeFileSync(path(), theirs());
      const isGone = ({ pid }: ProcessIdentity): boolean => pid === 4_711;
      const results = await twentyAtOnce({ fileSystem, processes: { own, isGone } });
      const winners = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
      const alive = await Promise.allSettled(winners.map((lock) => lock.verify()));
      expect(alive.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const lock of winners) await lock.recovered();
      expect(readdirSync(directory)).toEqual(['.lock.json']);
    },
  );

  it('gets a heartbeat each second through the descriptor that created it, never by path', async () => {
    const lock = await acquire();
    let beats = 0;
    lock.start(
      () => undefined,
      () => (beats += 1),
    );
    renameSync(path(), join(directory, 'elsewhere'));
    writeFileSync(path(), readFileSync(join(directory, 'elsewhere')));
    while (beats < 2) await clock.advance(1_000);
    expect(text()).toContain('"beat":"000000000000"');
    expect(readFileSync(join(directory, 'elsewhere'), 'utf8')).toMatch(/"beat":"00000000000[2-9]"/);
  });

  it('that another process took is noticed: on verify, and at the next heartbeat', async () => {
    const lock = await acquire();
    const lost = new Promise((resolve) => lock.start(resolve, () => undefined));
    await lock.verify();
    writeFileSync(path(), theirs());
    await expect(lock.verify()).rejects.toMatchObject({
      code: 'STORAGE_LOCKED',
      message: expect.stringContaining('process 4711 on there') as unknown,
    });
    expect(await passUntil(lost)).toMatchObject({ code: 'STORAGE_LOCKED' });
    await lock.release();
    expect(text()).toContain('4711');
  });

  it('that is gone is noticed', async () => {
    const lock = await acquire();
    rmSync(path());
    await expect(lock.verify()).rejects.toMatchObject({ code: 'STORAGE_LOCKED' });
  });

  it('is fresh for two seconds after a heartbeat, and no longer', async () => {
    const lock = await acquire();
    expect(lock.isFresh).toBe(true);
    await clock.advance(2_000);
    expect(lock.isFresh).toBe(false);
  });
});

describe('a takeover', () => {
  const theirsIsGone: Processes = { own, isGone: ({ pid }) => pid === 4_711 };

  it('happens at once if the process is gone, and is marked as inherited', async () => {
    writeFileSync(path(), theirs());
    const lock = await acquire({ timeoutMs: 0, processes: theirsIsGone });
    expect(lock.inherited).toBe(true);
    expect(text()).toContain('"host":"here"');
  });

  it('is inherited by each owner until one has recovered the databases', async () => {
    writeFileSync(path(), theirs());
    for (const processes of [theirsIsGone, nobodyGone]) {
      const lock = await acquire({ timeoutMs: 0, processes });
      expect(lock.inherited).toBe(true);
      if (processes === nobodyGone) await lock.recovered();
      await lock.release();
    }
    expect(readdirSync(directory)).toEqual([]);
    expect((await acquire()).inherited).toBe(false);
  });

  it('is inherited by the next owner if the new lock cannot be created or written', async () => {
    const full = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
    const isNew = (file: string, mode: string): boolean => file === path() && mode === 'create';
    const open: Record<string, FileSystem['open']> = {
      create: async (file, mode) => {
        if (isNew(file, mode) && !existsSync(path())) throw full;
        return await nodeFileSystem.open(file, mode);
      },
      write: async (file, mode) => {
        const opened = await nodeFileSystem.open(file, mode);
        if (isNew(file, mode)) opened.write = () => Promise.reject(full);
        return opened;
      },
    };
    for (const call of Object.keys(open)) {
      writeFileSync(path(), theirs());
      const fileSystem = { ...nodeFileSystem, open: open[call] as FileSystem['open'] };
      await expect(acquire({ processes: theirsIsGone, fileSystem })).rejects.toMatchObject({
        code: 'STORAGE_UNAVAILABLE',
      });
      const next = await acquire();
      expect([call, next.inherited]).toEqual([call, true]);
      await next.recovered();
      await next.release();
    }
  });

  it('is inherited by a process that creates the new lock before the one that removed the old one', async () => {
    writeFileSync(path(), theirs());
    let first: HeldLock | undefined;
    const interrupted: FileSystem = {
      ...nodeFileSystem,
      rename: async (from, to) => {
        await nodeFileSystem.rename(from, to);
        first ??= await acquire();
      },
    };
    const second = acquire({ timeoutMs: 0, processes: theirsIsGone, fileSystem: interrupted });
    await expect(second).rejects.toMatchObject({ code: 'STORAGE_LOCKED' });
    expect(first?.inherited).toBe(true);
  });

  it.each(['theirs', 'half'])('happens after three seconds without a heartbeat: %s', async (kind) => {
    writeFileSync(path(), kind === 'half' ? '' : theirs());
    const began = clock.monotonic();
    expect((await passUntil(acquire())).inherited).toBe(true);
    expect(clock.monotonic() - began).toBeGreaterThanOrEqual(3_000);
    expect(clock.monotonic() - began).toBeLessThan(3_500);
  });

  const elsewhere = newOwner({ ...own, boot: 'another', pid: 4_711 });

  it.each([
    ['of another boot', lockText(elsewhere, 0)],
    ['without a name', ''],
  ])('happens after three seconds whatever the timeout, if the owner is a process %s', async (_, lock) => {
    writeFileSync(path(), lock);
    expect((await passUntil(acquire({ timeoutMs: 0 }))).inherited).toBe(true);
    expect(clock.monotonic()).toBeGreaterThanOrEqual(3_000);
  });

  it('is refused at the first heartbeat after the timeout, if the process cannot be seen', async () => {
    writeFileSync(path(), lockText(elsewhere, 0));
    const beat = (): void => {
      if (clock.monotonic() >= 900) writeFileSync(path(), lockText(elsewhere, 1));
    };
    await expect(passUntil(acquire({ timeoutMs: 0 }), beat)).rejects.toMatchObject({
      code: 'STORAGE_LOCKED',
      message: expect.stringContaining('process 4711 on here') as unknown,
    });
    expect(clock.monotonic()).toBeLessThan(1_500);
  });

  it('never happens while there are heartbeats', async () => {
    const owner = newOwner({ ...own, pid: 4_711 });
    let beat = 0;
    writeFileSync(path(), lockText(owner, 0));
    await expect(
      passUntil(acquire(), () => writeFileSync(path(), lockText(owner, Math.floor(++beat / 20)))),
    ).rejects.toMatchObject({
      code: 'STORAGE_LOCKED',
    });
    expect(text()).toContain('4711');
  });

  it('restores a lock that is not the one that was found dead', async () => {
    writeFileSync(path(), theirs());
    const fresh = theirs();
    // another process took over between the last look and the rename
    const late: FileSystem = {
      ...nodeFileSystem,
      rename: async (from, to) => {
        if (from === path() && text() !== fresh) writeFileSync(path(), fresh);
        await nodeFileSystem.rename(from, to);
      },
    };
    let gone = true;
    const isGone = (): boolean => gone && !(gone = false);
    await expect(
      acquire({ timeoutMs: 0, fileSystem: late, processes: { own, isGone } }),
    ).rejects.toMatchObject({ code: 'STORAGE_LOCKED' });
    expect(text()).toBe(fresh);
    expect(readdirSync(directory)).toEqual(['.lock.json']);
  });

  it('fails if the lock cannot be written, and removes the file', async () => {
    const full: FileSystem = {
      ...nodeFileSystem,
      open: async (name, mode) => {
        const file = await nodeFileSystem.open(name, mode);
        file.write = () => Promise.reject(Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' }));
        return file;
      },
    };
    await expect(acquire({ fileSystem: full })).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      effect: 'none',
    });
    expect(existsSync(path())).toBe(false);
  });
});

describe('liveness', () => {
  it('counts only silence that was observed: a suspended observer, or a clock that leaps, declares no owner dead', () => {
    const judge = new OwnerLiveness(nobodyGone);
    const lock = theirs();
    expect(judge.isDead(lock, 0)).toBe(false);
    expect(judge.isDead(lock, 1_000_000)).toBe(false);
    const looks = Array.from({ length: 40 }, (_, look) => judge.isDead(lock, 1_000_000 + (look + 1) * 100));
    expect(looks.indexOf(true)).toBeGreaterThan(20);
  });

  it('starts again with every heartbeat', () => {
    const judge = new OwnerLiveness(nobodyGone);
    const owner = newOwner(own);
    const looks = Array.from({ length: 200 }, (_, look) =>
      judge.isDead(lockText(owner, Math.floor(look / 25)), look * 100),
    );
    expect(looks).not.toContain(true);
  });
});

describe('a process', () => {
  const { own: self, isGone } = systemProcesses();

  it('is alive while it runs', () => {
    expect(isGone(self)).toBe(false);
  });

  (process.platform === 'linux' ? it : it.skip)(
    'is gone when its pid is free, or belongs to one that started at another time',
    () => {
      expect(isGone({ ...self, pid: 4_194_304 + 1 })).toBe(true);
      expect(isGone({ ...self, started: `${self.started}0` })).toBe(true);
    },
  );

  it('of another boot, of another namespace or of an unknown one never counts as gone', () => {
    const gone = { ...self, pid: 4_194_304 + 1 };
    expect(isGone({ ...gone, boot: 'another' })).toBe(false);
    expect(isGone({ ...gone, namespace: 'another' })).toBe(false);
    expect(isGone({ ...gone, boot: '', namespace: '' })).toBe(false);
    expect(isGone({ ...gone, pid: Number.NaN })).toBe(false);
  });
});
