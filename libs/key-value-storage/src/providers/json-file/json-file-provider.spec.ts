import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import type { Change, CommitResult } from '../../core/port/storage-provider.js';
import { openStorage } from '../../core/store/open-storage.js';
import { defineState } from '../../core/store/state-definition.js';
import { ManualClock } from '../../testing/kit/manual-clock.js';
import { directoryOf } from './disk/file-name.js';
import { JsonFileProvider, type JsonFileProviderOptions } from './json-file-provider.js';
import {
  bench,
  database,
  provider,
  open,
  address,
  put,
  batch,
  absent,
  commit,
  read,
  text,
  failure,
  failOn,
  failed,
  killed,
  until,
} from './spec-support.js';
import { StoreFollower } from './store-follower.js';

describe('constructing', () => {
  it('does no I/O, and refuses unknown options', () => {
    provider({ directory: join(bench.root, 'later') });
    expect(existsSync(join(bench.root, 'later'))).toBe(false);
    const options = { directory: bench.root, lockTimeoutMS: 1 } as JsonFileProviderOptions;
    for (const make of [
      () => new JsonFileProvider(options),
      () => provider({ directory: '' }),
      () => provider({ lockTimeoutMs: -1 }),
      () => provider({ compaction: { ratio: Number.NaN } }),
      () => provider({ compaction: { size: 1 } as object }),
      () => provider({ create: 'always' as 'never' }),
      () => provider({ warn: 'yes' as never }),
    ]) {
      expect(make).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
    }
  });
});

describe('a commit', () => {
  it('takes one write and one sync, and so do a hundred at once', async () => {
    const store = await open();
    await commit(store, batch([put('first')]));
    bench.disk.calls = [];
    await commit(store, batch([put('a')]));
    expect(bench.disk.calls).toEqual(['write journal-1.jsonl', 'sync journal-1.jsonl']);
    bench.disk.calls = [];
    await Promise.all(Array.from({ length: 100 }, (_, index) => commit(store, batch([put(`k${index}`)]))));
    expect(bench.disk.calls).toEqual(['write journal-1.jsonl', 'sync journal-1.jsonl']);
  });

  it('that arrives while a group is in flight joins the next group, which takes one sync', async () => {
    const store = await open();
    await commit(store, batch([put('first')]));
    bench.disk.shut();
    bench.disk.calls = [];
    const first = commit(store, batch([put('a')]));
    await until(() => bench.disk.calls.includes('sync journal-1.jsonl'));
    const rest = Array.from({ length: 50 }, (_, index) => commit(store, batch([put(`k${index}`)])));
    expect(await read(store, 'a')).toBeUndefined();
    bench.disk.open();
    await Promise.all([first, ...rest]);
    expect(bench.disk.calls.filter((call) => call.startsWith('sync'))).toHaveLength(2);
  });

  it('that changes nothing writes nothing, and creates no database', async () => {
    const store = await open();
    bench.disk.calls = [];
    expect(await commit(store, batch([], [absent('a')]))).toMatchObject({ outcome: 'committed' });
    expect(
      await commit(store, batch([put('a')], [{ address: address('a'), expected: 'present' }])),
    ).toMatchObject({ outcome: 'conflict' });
    expect(bench.disk.calls).toEqual([]);
  });

  it('of a new database renames the whole directory into place, synced, before it returns', async () => {
    const store = await open();
    bench.disk.calls = [];
    await commit(store, batch([put('a')]));
    expect(bench.disk.calls).toEqual([
      'make new',
      'create journal-1.jsonl',
      'write journal-1.jsonl',
      'sync journal-1.jsonl',
      'syncdir new',
      'rename new tenant.acme',
      'syncdir root',
      'write journal-1.jsonl',
      'sync journal-1.jsonl',
    ]);
  });

  it('of one database does not wait for another database', async () => {
    const store = await open();
    await commit(store, batch([put('a')]));
    await commit(store, batch([put('a')], [], 'shared'));
    bench.disk.shut();
    const slow = commit(store, batch([put('b')]));
    await until(() => bench.disk.calls.at(-1) === 'sync journal-1.jsonl');
    const path = join(bench.root, 'shared', 'journal-1.jsonl');
    const before = readFileSync(path).length;
    const other = commit(store, batch([put('b')], [], 'shared'));
    await until(() => readFileSync(path).length > before);
    bench.disk.open();
    await Promise.all([slow, other]);
  });

  it('rejects with ABORTED: effect none while it is queued, unknown in flight; its neighbours are committed', async () => {
    const store = await open();
    await commit(store, batch([put('first')]));
    bench.disk.shut();
    bench.disk.calls = [];
    const given = new AbortController();
    const [onItsWay, beside] = [
      store.commit([batch([put('a')])], { signal: given.signal }),
      commit(store, batch([put('b')])),
    ];
    await until(() => bench.disk.calls.includes('sync journal-1.jsonl'));
    const [waiting, behind] = [
      store.commit([batch([put('c')])], { signal: given.signal }),
      commit(store, batch([put('d')])),
    ];
    await new Promise((resolve) => setImmediate(resolve));
    given.abort();
    expect(failed((await onItsWay)[0] as CommitResult)).toMatchObject({ code: 'ABORTED', effect: 'unknown' });
    expect(failed((await waiting)[0] as CommitResult)).toMatchObject({ code: 'ABORTED', effect: 'none' });
    bench.disk.open();
    expect([await beside, await behind]).toMatchObject([{ outcome: 'committed' }, { outcome: 'committed' }]);
    expect(await read(store, 'c')).toBeUndefined();
    expect(text(await read(store, 'd'))).toBe('1');
  });
});

describe('a disk that fails', () => {
  it.each(['write', 'sync'])(
    'in a %s answers those on their way with an unknown outcome, and closes that database for writing alone',
    async (what) => {
      const store = await open();
      await commit(store, batch([put('a')]));
      await commit(store, batch([put('a')], [], 'shared'));
      failOn(new RegExp(`^${what} journal`));
      const [first, judgedByIt] = await Promise.all([
        commit(store, batch([put('b')])),
        commit(store, batch([put('c')], [absent('b')])),
      ]);
      expect(failed(first)).toMatchObject({ code: 'STORAGE_OUTCOME_UNKNOWN', effect: 'unknown' });
      expect(failed(judgedByIt)).toMatchObject({ code: 'STORAGE_UNAVAILABLE', effect: 'none' });
      bench.disk.fail = () => undefined;
      bench.disk.calls = [];
      expect(failed(await commit(store, batch([put('d')])))).toMatchObject({
        code: 'STORAGE_UNAVAILABLE',
        effect: 'none',
      });
      expect(bench.disk.calls).toEqual([]);
      expect([text(await read(store, 'a')), await read(store, 'b')]).toEqual(['1', undefined]);
      expect(await commit(store, batch([put('b')], [], 'shared'))).toMatchObject({ outcome: 'committed' });
      await store.close();
      await store.open();
      expect(await commit(store, batch([put('d')]))).toMatchObject({ outcome: 'committed' });
      expect(text(await read(store, 'a'))).toBe('1');
    },
  );

  it('before anything is written has no effect, and the commit can be retried', async () => {
    const store = await open();
    failOn(/^create journal/, 'ENOSPC');
    expect(failed(await commit(store, batch([put('a')])))).toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      effect: 'none',
      message: expect.stringContaining('no space left') as unknown,
    });
    bench.disk.fail = () => undefined;
    expect(await commit(store, batch([put('a')]))).toMatchObject({ outcome: 'committed' });
    expect(readdirSync(bench.root).toSorted()).toEqual([
      expect.stringMatching(/^\.feed-/),
      '.kvent.json',
      '.lock.json',
      'tenant.acme',
    ]);
  });

  it('is not a lost lock: after that, even reads are refused', async () => {
    const clock = new ManualClock();
    const store = await open({ clock });
    await commit(store, batch([put('a')]));
    writeFileSync(
      join(bench.root, '.lock.json'),
      readFileSync(join(bench.root, '.lock.json'), 'utf8').replace(/"owner":"...../, '"owner":"other'),
    );
    expect(failed(await commit(store, batch([put('b')])))).toMatchObject({
      code: 'STORAGE_OUTCOME_UNKNOWN',
      effect: 'unknown',
    });
    await expect(read(store, 'a')).rejects.toMatchObject({ code: 'STORAGE_LOCKED', effect: 'none' });
    await expect(store.administration.databases()).rejects.toMatchObject({
      code: 'STORAGE_LOCKED',
      effect: 'none',
    });
  });

  it.each([{ recover: false }, { recover: true }])(
    'that is lost ends open watches with the error of every other call: %p',
    async (options) => {
      const clock = new ManualClock();
      await using storage = await openStorage(new JsonFileProvider({ directory: bench.root, clock }));
      const things = storage.store(defineState<number>('thing'));
      await things.set('a', 1);
      let isRead = 0;
      const endOf = async (watch: AsyncIterable<unknown>, lastRead: number): Promise<unknown> => {
        let count = 0;
        try {
          for await (const _ of watch) if ((count += 1) === lastRead) isRead += 1;
        } catch (error) {
          return error;
        }
        return 'ended';
      };
      const ends = Promise.all([
        endOf(things.watch('a', options), 1),
        endOf(things.watchMany(['a', 'b'], options), 1),
        // the entry, and that all are listed
        endOf(things.watchRange({}, options), 2),
      ]);
      while (isRead < 3) await new Promise((resolve) => setImmediate(resolve));
      rmSync(join(bench.root, '.lock.json'));
      await clock.advance(2_500);
      const locked = expect.objectContaining({ code: 'STORAGE_LOCKED', effect: 'none' });
      expect(await ends).toEqual([locked, locked, locked]);
      await expect(things.get('a')).rejects.toEqual(locked);
    },
  );

  it('makes a process that was suspended verify its lock before a read', async () => {
    const clock = new ManualClock();
    const store = await open({ clock });
    await commit(store, batch([put('a')]));
    rmSync(join(bench.root, '.lock.json'));
    expect(text(await read(store, 'a'))).toBe('1');
    await clock.advance(2_500);
    await expect(read(store, 'a')).rejects.toMatchObject({ code: 'STORAGE_LOCKED', effect: 'none' });
  });

  it.each([
    ['a file is where the directory should be', () => writeFileSync(join(bench.root, 'file'), ''), 'file'],
    ['a file is on the way to it', () => writeFileSync(join(bench.root, 'file'), ''), 'file/deeper'],
  ])('cannot be opened: %s', async (_, prepare, directory) => {
    prepare();
    await expect(provider({ directory: join(bench.root, directory) }).open()).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      effect: 'none',
    });
  });
});

describe('opening', () => {
  it('again returns the rows that were stored; opening twice is refused', async () => {
    const store = await open();
    await commit(store, batch([put('a', '{"title":"Tea"}')]));
    await expect(store.open()).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await store.close();
    await expect(read(store, 'a')).rejects.toMatchObject({ code: 'STORAGE_NOT_OPEN' });
    await Promise.all([store.close(), store.open()]);
    expect(text(await read(store, 'a'))).toBe('{"title":"Tea"}');
  });

  it('after a clean close writes nothing, and the first commit creates a new journal', async () => {
    const store = await open();
    await commit(store, batch([put('a')]));
    await store.close();
    bench.disk.calls = [];
    await store.open();
    expect(bench.disk.calls).toEqual(['syncdir root']);
    bench.disk.calls = [];
    await commit(store, batch([put('b')]));
    expect(bench.disk.calls).toEqual([
      'create journal-2.jsonl',
      'write journal-2.jsonl',
      'sync journal-2.jsonl',
      'syncdir tenant.acme',
      'write journal-2.jsonl',
      'sync journal-2.jsonl',
    ]);
  });

  it('after anything else writes the rows as a new generation, synced, before it is open', async () => {
    await commit(await open(), batch([put('a')]));
    bench.disk.calls = [];
    const next = await open({ processes: killed });
    expect(bench.disk.calls).toEqual([
      'syncdir root',
      'syncdir tenant.acme',
      ...newGeneration(2),
      'remove journal-1.jsonl',
    ]);
    expect(text(await read(next, 'a'))).toBe('1');
  });

  it('with a lock that was taken over recovers, whatever the journals say', async () => {
    const store = await open();
    await commit(store, batch([put('a')]));
    const lock = readFileSync(join(bench.root, '.lock.json'));
    await store.close();
    writeFileSync(join(bench.root, '.lock.json'), lock);
    await open({ processes: killed });
    expect(existsSync(join(bench.root, 'tenant.acme', 'snapshot-2.json'))).toBe(true);
  });

  it('creates the directories above the root, and syncs them', async () => {
    await open({ directory: join(bench.root, 'a', 'b') });
    expect(bench.disk.calls.slice(0, 4)).toEqual(['make a', 'syncdir root', 'make b', 'syncdir a']);
    expect(bench.disk.calls).toEqual(expect.arrayContaining(['syncdir a', 'syncdir root', 'syncdir b']));
  });

  it('removes dropped and unfinished directories, once their renames are on disk', async () => {
    const store = await open();
    await commit(store, batch([put('a')]));
    await store.close();
    for (const name of ['.dropped-0123456789abcdef-tenant.gone', '.new-0123456789abcdef'])
      mkdirSync(join(bench.root, name));
    writeFileSync(join(bench.root, '.dropped-0123456789abcdef-tenant.gone', 'journal-1.jsonl'), '');
    bench.disk.calls = [];
    await store.open();
    expect(bench.disk.calls.slice(0, 4)).toEqual([
      'make tenant.gone',
      'unmake tenant.gone',
      'syncdir root',
      'remove journal-1.jsonl',
    ]);
    expect(readdirSync(bench.root).toSorted()).toEqual([
      expect.stringMatching(/^\.feed-/),
      '.kvent.json',
      '.lock.json',
      'tenant.acme',
    ]);
  });

  it('refuses databases without the marker of a store, and a store with another id', async () => {
    const store = await open();
    await commit(store, batch([put('a')]));
    await store.close();
    const marker = join(bench.root, '.kvent.json');
    const was = readFileSync(marker, 'utf8');
    rmSync(marker);
    await expect(provider().open()).rejects.toMatchObject({ code: 'STORAGE_CORRUPT', place: marker });
    await expect(store.open()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    writeFileSync(marker, was.replace(/"id":"..../, '"id":"else'));
    await expect(store.open()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    writeFileSync(marker, 'nonsense');
    await expect(provider().open()).rejects.toMatchObject({ code: 'STORAGE_CORRUPT', place: marker });
    expect(readdirSync(bench.root).toSorted()).toEqual([
      expect.stringMatching(/^\.feed-/),
      '.kvent.json',
      'tenant.acme',
    ]);
  });

  it('creates no store if `create` is never: the disk may not be mounted', async () => {
    await expect(provider({ create: 'never' }).open()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    await expect(
      provider({ create: 'never', directory: join(bench.root, 'none') }).open(),
    ).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
    });
    expect(readdirSync(bench.root)).toEqual([]);
  });

  it.each(['shared', 'tenant:acme'])('refuses %s if its directory has other files only', async (name) => {
    const store = await open();
    await commit(store, batch([put('a')], [], name));
    await store.close();
    const directory = join(bench.root, directoryOf(name));
    renameSync(join(directory, 'journal-1.jsonl'), join(directory, 'journal-1.jsonl.bak'));
    const follower = new StoreFollower({ directory: bench.root });
    expect(await follower.administration.databases()).toEqual([name]);
    const missing = { code: 'STORAGE_CORRUPT', place: join(directory, 'journal-1.jsonl') };
    await expect(store.open()).rejects.toMatchObject(missing);
    await expect(follower.refresh(name)).rejects.toMatchObject(missing);
    const marker = join(bench.root, '.kvent.json');
    rmSync(marker);
    await expect(provider().open()).rejects.toMatchObject({ code: 'STORAGE_CORRUPT', place: marker });
    expect(readdirSync(directory)).toEqual(['journal-1.jsonl.bak']);
  });

  it('leaves foreign directories alone', async () => {
    mkdirSync(join(bench.root, 'backup'));
    writeFileSync(join(bench.root, 'backup', 'notes.txt'), 'mine');
    await (await open()).close();
    expect(readFileSync(join(bench.root, 'backup', 'notes.txt'), 'utf8')).toBe('mine');
  });

  it('warns of a tail that was cut off, with file and line', async () => {
    const store = await open();
    await commit(store, batch([put('a')]));
    const journal = join(bench.root, 'tenant.acme', 'journal-1.jsonl');
    writeFileSync(journal, `${readFileSync(journal, 'utf8')}{"sum":"half a li`);
    const warnings: string[] = [];
    const next = await open({ processes: killed, warn: (warning) => warnings.push(warning) });
    expect(warnings).toEqual([expect.stringContaining(`${journal}:3`)]);
    expect(text(await read(next, 'a'))).toBe('1');
  });
});

const newGeneration = (generation: number): string[] => {
  const [journal, snapshot] = [`journal-${generation}.jsonl`, `snapshot-${generation}.json`];
  return [
    `create ${journal}`,
    `write ${journal}`,
    `sync ${journal}`,
    'syncdir tenant.acme',
    `create ${snapshot}.tmp`,
    `write ${snapshot}.tmp`,
    `write ${snapshot}.tmp`,
    `sync ${snapshot}.tmp`,
    `rename ${snapshot}.tmp ${snapshot}`,
    'syncdir tenant.acme',
  ];
};

describe('compaction', () => {
  const small = { compaction: { ratio: 1, minimumBytes: 1_500 } };
  const files = (): string[] => readdirSync(join(bench.root, 'tenant.acme')).toSorted();

  it('creates a journal, names it in the old one, writes the snapshot, and only then removes older files', async () => {
    const store = await open({ ...small, compaction: { ratio: 1, minimumBytes: 1 } });
    await commit(store, batch([put('a')]));
    bench.disk.calls = [];
    await commit(store, batch([put('a')]));
    await until(() => bench.disk.calls.includes('remove journal-1.jsonl'));
    expect(bench.disk.calls.slice(2)).toEqual(
      newGeneration(2)
        .toSpliced(4, 0, 'write journal-1.jsonl', 'sync journal-1.jsonl')
        .concat('remove journal-1.jsonl'),
    );
    expect(readFileSync(join(bench.root, 'tenant.acme', 'snapshot-2.json'), 'utf8')).toContain('"upTo":2,');
  });

  it('is not due while rows are new, and is once as many were replaced, by an earlier process too', async () => {
    const never = { compaction: { ratio: 1, minimumBytes: Number.MAX_SAFE_INTEGER } };
    const keys = Array.from({ length: 40 }, (_, index) => `k${index}`);
    const store = await open(small);
    for (const key of keys) await commit(store, batch([put(key, 'x'.repeat(200))]));
    await store.close();
    expect(files()).toEqual(['journal-1.jsonl']);
    const again = await open(never);
    for (const key of keys) await commit(again, batch([put(key, 'y'.repeat(200))]));
    await again.close();
    expect(files()).toEqual(['journal-1.jsonl', 'journal-2.jsonl']);
    const last = await open(small);
    bench.disk.calls = [];
    await commit(last, batch([put('new')]));
    await until(() => bench.disk.calls.includes('remove journal-2.jsonl'));
    expect(files()).toContain('snapshot-4.json');
    expect(await exported(last)).toHaveLength(41);
    await last.close();
  });

  it('loses nothing while commits go on, and keeps one snapshot and one journal', async () => {
    const store = await open(small);
    for (let round = 0; round < 40; round += 1) {
      await Promise.all(
        Array.from({ length: 10 }, (_, index) =>
          commit(store, batch([put(`k${(round * 7 + index) % 30}`, `${round * 10 + index}`)])),
        ),
      );
    }
    const rows = await exported(store);
    await store.close();
    expect(files().filter((name) => name.startsWith('snapshot'))).toHaveLength(1);
    await store.open();
    expect(await exported(store)).toEqual(rows);
  });

  it.each([
    'create snapshot',
    'write snapshot',
    'sync snapshot',
    'rename snapshot',
    'syncdir tenant.acme',
    'create journal-2',
  ])('that fails at "%s" stops no commit, is said, and loses nothing', async (call) => {
    const warnings: string[] = [];
    const store = await open({ ...small, warn: (warning) => warnings.push(warning) });
    await commit(store, batch([put('first')]));
    failOn(new RegExp(`^${call}`), 'ENOSPC');
    for (let index = 0; warnings.length === 0 && index < 500; index += 1)
      expect(await commit(store, batch([put(`k${index % 10}`, `${index}`)]))).toMatchObject({
        outcome: 'committed',
      });
    expect(warnings).toEqual([expect.stringContaining('could not be compacted')]);
    bench.disk.fail = () => undefined;
    const rows = await exported(store);
    await store.close();
    await store.open();
    expect(await exported(store)).toEqual(rows);
  });

  it('that fails with a `warn` that throws stops no commit either, and the store closes', async () => {
    const warn = jest.fn(() => {
      throw new Error('warn has failed');
    });
    const store = await open({ ...small, warn });
    failOn(/^create snapshot/, 'ENOSPC');
    for (let index = 0; warn.mock.calls.length === 0 && index < 500; index += 1)
      await commit(store, batch([put(`k${index % 10}`, `${index}`)]));
    expect(await commit(store, batch([put('last')]))).toMatchObject({ outcome: 'committed' });
    expect(warn).toHaveBeenCalled();
    await store.close();
  });
});

describe('administration', () => {
  it('drops with one rename, synced, before it returns', async () => {
    const store = await open();
    await commit(store, batch([put('a')]));
    bench.disk.calls = [];
    expect(await store.administration.drop(database)).toBe(true);
    expect(bench.disk.calls).toEqual([
      'write journal-1.jsonl',
      'sync journal-1.jsonl',
      'rename tenant.acme dropped',
      'syncdir root',
      'remove journal-1.jsonl',
      'unmake dropped',
    ]);
    expect(await store.administration.drop(database)).toBe(false);
    expect(await commit(store, batch([put('b')], [absent('a')]))).toMatchObject({ outcome: 'committed' });
    expect(readdirSync(join(bench.root, 'tenant.acme'))).toEqual(['journal-1.jsonl']);
  });

  it('leaves the database as it was if it cannot drop it', async () => {
    const store = await open();
    await commit(store, batch([put('a')]));
    failOn(/^rename tenant/, 'EACCES');
    await expect(store.administration.drop(database)).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      effect: 'none',
    });
    expect(await commit(store, batch([put('b')]))).toMatchObject({ outcome: 'committed' });
    await store.close();
    await store.open();
    expect([text(await read(store, 'a')), text(await read(store, 'b'))]).toEqual(['1', '1']);
  });

  it('reports an unknown outcome if the lock is lost after the rename of a drop', async () => {
    const store = await open();
    await commit(store, batch([put('a')]));
    bench.disk.fail = (call) => {
      if (/^rename tenant/.test(call)) rmSync(join(bench.root, '.lock.json'));
    };
    await expect(store.administration.drop(database)).rejects.toMatchObject({
      code: 'STORAGE_OUTCOME_UNKNOWN',
      effect: 'unknown',
    });
    await expect(store.administration.drop(database)).rejects.toMatchObject({
      code: 'STORAGE_LOCKED',
      effect: 'none',
    });
  });

  it('reports how many rows of a stopped import are stored', async () => {
    const store = await open();
    const rows = Array.from({ length: 600 }, (_, index) => ({
      ...address(`k${index}`),
      row: { version: '1', value: { kind: 'json', text: '1' } as const, updatedAt: 1 },
    }));
    let writes = 0;
    bench.disk.fail = (call) => {
      // the header, 500 rows, and the rest
      if (/^write journal/.test(call) && (writes += 1) > 2) throw failure('ENOSPC');
    };
    await expect(store.administration.import(database, rows)).rejects.toMatchObject({
      effect: 'unknown',
      done: 500,
    });
    await expect(store.administration.import(database, rows)).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      effect: 'none',
      done: 0,
    });
  });

  it('exports the rows of one moment, whatever is committed during it', async () => {
    const store = await open();
    const total = 1_200;
    const key = (index: number): string => `k${index}`.padEnd(8, '-');
    await store.administration.import(
      database,
      Array.from({ length: total }, (_, index) => ({
        ...address(key(index)),
        row: { version: '1', value: { kind: 'json' as const, text: 'true' }, updatedAt: 1 },
      })),
    );
    const rows: string[] = [];
    for await (const raw of store.administration.export(database)) {
      if (rows.length === 10) {
        await commit(store, batch(Array.from({ length: 300 }, (_, index) => put(key(index * 4), 'false'))));
        await commit(
          store,
          batch([
            ...Array.from({ length: 300 }, (_, index): Change => ({
              kind: 'delete',
              address: address(key(index * 4 + 1)),
            })),
            put('k9999', '1'),
            put('a', '1'),
          ]),
        );
      }
      rows.push(`${raw.key}${text(raw.row) ?? ''}`);
    }
    expect(rows).toEqual(Array.from({ length: total }, (_, index) => `${key(index)}true`).sort());
  });
});

it('an idle owner notes in the journal what is on disk', async () => {
  const clock = new ManualClock();
  const store = await open({ clock });
  await commit(store, batch([put('a')]));
  const lines = (): string[] =>
    readFileSync(join(bench.root, 'tenant.acme', 'journal-1.jsonl'), 'utf8')
      .trimEnd()
      .split('\n');
  expect(lines()).toHaveLength(2);
  while (lines().length === 2) await clock.advance(1_000);
  expect(JSON.parse(lines()[2] ?? '')).toMatchObject({ onDisk: 1 });
  for (let beat = 0; beat < 5; beat += 1) await clock.advance(1_000);
  expect(lines()).toHaveLength(3);
});

async function exported(store: JsonFileProvider): Promise<readonly unknown[]> {
  const rows: unknown[] = [];
  for await (const raw of store.administration.export(database)) rows.push(raw);
  return rows;
}
