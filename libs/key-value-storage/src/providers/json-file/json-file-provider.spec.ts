import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Batch, Change, Check, CommitResult, Row } from '../../core/port/storage-provider.js';
import { versionSource } from '../../core/port/version.js';
import { ManualClock } from '../../testing/kit/manual-clock.js';
import { withModes, type FileSystem, type OpenFile, type OpenMode } from './disk/file-system.js';
import { JsonFileProvider, type JsonFileProviderOptions } from './json-file-provider.js';
import { nodeFileSystem } from './disk/node-file-system.js';
import { systemProcesses } from './lock/process-identity.js';

let root: string;
let disk: Disk;
const opened: JsonFileProvider[] = [];
const version = versionSource();
const database = 'tenant:acme';

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'kvent-json-'));
  disk = new Disk();
});
afterEach(async () => {
  disk.fail = () => undefined;
  disk.open();
  for (const provider of opened.splice(0)) await provider.close();
  rmSync(root, { recursive: true });
});

/**
 * The real disk, with a list of what was asked of it (but of the lock), and with failures and
 * delays on demand.
 */
class Disk implements FileSystem {
  calls: string[] = [];
  /** Throws for the call that is to fail. */
  fail: (call: string) => void = () => undefined;
  #gate: Promise<void> | undefined;
  #opened: (() => void) | undefined;

  /** Syncs of journals wait until the disk is opened again. */
  shut(): void {
    this.#gate = new Promise((resolve) => (this.#opened = resolve));
  }

  readonly #do = async <R>(call: string, work: () => Promise<R>): Promise<R> => {
    if (!call.includes('lock')) this.calls.push(call);
    this.fail(call);
    if (/^sync journal/.test(call)) await this.#gate;
    return await work();
  };

  readonly rename = (from: string, to: string) =>
    this.#do(`rename ${plain(from)} ${plain(to)}`, () => nodeFileSystem.rename(from, to));
  readonly remove = (path: string) => this.#do(`remove ${plain(path)}`, () => nodeFileSystem.remove(path));
  readonly makeDirectory = (path: string, permissions?: number) =>
    this.#do(`make ${plain(path)}`, () => nodeFileSystem.makeDirectory(path, permissions));
  /** Whether everything belongs to somebody else. */
  theirs = false;
  readonly status = async (path: string, links?: 'follow') => {
    const found = await nodeFileSystem.status(path, links);
    return found && { ...found, isOurs: !this.theirs };
  };
  readonly removeDirectory = (path: string) =>
    this.#do(`unmake ${plain(path)}`, () => nodeFileSystem.removeDirectory(path));
  readonly list = (path: string) => nodeFileSystem.list(path);
  readonly syncDirectory = (path: string) =>
    this.#do(`syncdir ${plain(path)}`, () => nodeFileSystem.syncDirectory(path));

  /** With a path a file is opened; without one the gate is. */
  open(): void;
  open(path: string, mode: OpenMode, permissions?: number): Promise<OpenFile>;
  open(path?: string, mode: OpenMode = 'read', permissions?: number): Promise<OpenFile> | void {
    if (path === undefined) return this.#opened?.();
    return this.#file(path, mode, permissions);
  }

  async #file(path: string, mode: OpenMode, permissions?: number): Promise<OpenFile> {
    const name = plain(path);
    const file = await (mode !== 'create'
      ? nodeFileSystem.open(path, mode)
      : this.#do(`create ${name}`, () => nodeFileSystem.open(path, mode, permissions)));
    return {
      read: (into, position) => file.read(into, position),
      write: (bytes, position) => this.#do(`write ${name}`, () => file.write(bytes, position)),
      truncate: (length) => file.truncate(length),
      sync: () => this.#do(`sync ${name}`, () => file.sync()),
      size: () => file.size(),
      close: () => file.close(),
    };
  }
}

/** The last part of a path, without what is random in it. */
const plain = (path: string): string =>
  path === root
    ? 'root'
    : basename(path)
        .replace(/\.[0-9a-f]{16}\.tmp$/, '.tmp')
        .replace(/^\.(new|dropped|lock)-[0-9a-f]{16}(-.*)?$/, '$1');

const provider = (options: Partial<JsonFileProviderOptions> = {}): JsonFileProvider =>
  new JsonFileProvider({ directory: root, fileSystem: disk, ...options });

async function open(options: Partial<JsonFileProviderOptions> = {}): Promise<JsonFileProvider> {
  const made = provider(options);
  await made.open();
  opened.push(made);
  return made;
}

const address = (key: string) => ({ container: 'state:x', entity: 'e', key });
const put = (key: string, text = '1'): Change => ({
  kind: 'put',
  address: address(key),
  value: { kind: 'json', text },
  ttl: 'never',
});
const batch = (changes: readonly Change[], checks: readonly Check[] = [], of = database): Batch => ({
  database: of,
  version: version(),
  checks,
  changes,
});
const absent = (key: string): Check => ({ address: address(key), expected: 'absent' });

async function commit(to: JsonFileProvider, ...batches: Batch[]): Promise<CommitResult> {
  return (await to.commit(batches))[0] as CommitResult;
}
async function read(from: JsonFileProvider, key: string, of = database): Promise<Row | undefined> {
  return (await from.read([{ database: of, ...address(key) }])).rows[0];
}
const text = (row: Row | undefined): string | undefined =>
  row?.value.kind === 'json' ? row.value.text : undefined;
const failure = (code: string): NodeJS.ErrnoException =>
  Object.assign(new Error(`${code}: as the test asks`), { code });
const failOn = (pattern: RegExp, code = 'EIO'): void => {
  disk.fail = (call) => {
    if (pattern.test(call)) throw failure(code);
  };
};
const failed = (result: CommitResult) => (result.outcome === 'failed' ? result.error : undefined);
/** As if the process were killed: another one finds what is there. */
const killed = { own: { ...systemProcesses().own, pid: 1 }, isGone: () => true };

describe('constructing', () => {
  it('does no I/O, and refuses what it does not know', () => {
    provider({ directory: join(root, 'later') });
    expect(existsSync(join(root, 'later'))).toBe(false);
    const options = { directory: root, lockTimeoutMS: 1 } as JsonFileProviderOptions;
    for (const make of [
      () => new JsonFileProvider(options),
      () => provider({ directory: '' }),
      () => provider({ lockTimeoutMs: -1 }),
      () => provider({ compaction: { ratio: Number.NaN } }),
      () => provider({ compaction: { size: 1 } as object }),
      () => provider({ create: 'always' as 'never' }),
    ]) {
      expect(make).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
    }
  });
});

describe('a commit', () => {
  it('takes one write and one sync, and a hundred at once take as many', async () => {
    const store = await open();
    await commit(store, batch([put('first')]));
    disk.calls = [];
    await commit(store, batch([put('a')]));
    expect(disk.calls).toEqual(['write journal-1.jsonl', 'sync journal-1.jsonl']);
    disk.calls = [];
    await Promise.all(Array.from({ length: 100 }, (_, index) => commit(store, batch([put(`k${index}`)]))));
    expect(disk.calls).toEqual(['write journal-1.jsonl', 'sync journal-1.jsonl']);
  });

  it('of those that come while a group is on its way takes one more sync, however many they are', async () => {
    const store = await open();
    await commit(store, batch([put('first')]));
    disk.shut();
    disk.calls = [];
    const first = commit(store, batch([put('a')]));
    await until(() => disk.calls.includes('sync journal-1.jsonl'));
    const rest = Array.from({ length: 50 }, (_, index) => commit(store, batch([put(`k${index}`)])));
    expect(await read(store, 'a')).toBeUndefined();
    disk.open();
    await Promise.all([first, ...rest]);
    expect(disk.calls.filter((call) => call.startsWith('sync'))).toHaveLength(2);
  });

  it('that only answers writes nothing, and makes no database', async () => {
    const store = await open();
    disk.calls = [];
    expect(await commit(store, batch([], [absent('a')]))).toMatchObject({ outcome: 'committed' });
    expect(
      await commit(store, batch([put('a')], [{ address: address('a'), expected: 'present' }])),
    ).toMatchObject({ outcome: 'conflict' });
    expect(disk.calls).toEqual([]);
  });

  it('of a new database puts the whole directory in its place, synced, before the first answer', async () => {
    const store = await open();
    disk.calls = [];
    await commit(store, batch([put('a')]));
    expect(disk.calls).toEqual([
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

  it('of one database does not wait for the disk of another', async () => {
    const store = await open();
    await commit(store, batch([put('a')]));
    await commit(store, batch([put('a')], [], 'shared'));
    disk.shut();
    const slow = commit(store, batch([put('b')]));
    await until(() => disk.calls.at(-1) === 'sync journal-1.jsonl');
    const path = join(root, 'shared', 'journal-1.jsonl');
    const before = readFileSync(path).length;
    const other = commit(store, batch([put('b')], [], 'shared'));
    await until(() => readFileSync(path).length > before);
    disk.open();
    await Promise.all([slow, other]);
  });

  it('ends with ABORTED and no effect while it waits, and with an unknown one on its way; its neighbours land', async () => {
    const store = await open();
    await commit(store, batch([put('first')]));
    disk.shut();
    disk.calls = [];
    const given = new AbortController();
    const [onItsWay, beside] = [
      store.commit([batch([put('a')])], { signal: given.signal }),
      commit(store, batch([put('b')])),
    ];
    await until(() => disk.calls.includes('sync journal-1.jsonl'));
    const [waiting, behind] = [
      store.commit([batch([put('c')])], { signal: given.signal }),
      commit(store, batch([put('d')])),
    ];
    await new Promise((resolve) => setImmediate(resolve));
    given.abort();
    expect(failed((await onItsWay)[0] as CommitResult)).toMatchObject({ code: 'ABORTED', effect: 'unknown' });
    expect(failed((await waiting)[0] as CommitResult)).toMatchObject({ code: 'ABORTED', effect: 'none' });
    disk.open();
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
      disk.fail = () => undefined;
      disk.calls = [];
      expect(failed(await commit(store, batch([put('d')])))).toMatchObject({
        code: 'STORAGE_UNAVAILABLE',
        effect: 'none',
      });
      expect(disk.calls).toEqual([]);
      expect([text(await read(store, 'a')), await read(store, 'b')]).toEqual(['1', undefined]);
      expect(await commit(store, batch([put('b')], [], 'shared'))).toMatchObject({ outcome: 'committed' });
      await store.close();
      await store.open();
      expect(await commit(store, batch([put('d')]))).toMatchObject({ outcome: 'committed' });
      expect(text(await read(store, 'a'))).toBe('1');
    },
  );

  it('before anything is written answers that nothing was, and is tried again', async () => {
    const store = await open();
    failOn(/^create journal/, 'ENOSPC');
    expect(failed(await commit(store, batch([put('a')])))).toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      effect: 'none',
      message: expect.stringContaining('no space left') as unknown,
    });
    disk.fail = () => undefined;
    expect(await commit(store, batch([put('a')]))).toMatchObject({ outcome: 'committed' });
    expect(readdirSync(root).toSorted()).toEqual(['.kvent.json', '.lock.json', 'tenant.acme']);
  });

  it('is told from a lost lock: then nothing is answered any more, not even reads', async () => {
    const clock = new ManualClock();
    const store = await open({ clock });
    await commit(store, batch([put('a')]));
    writeFileSync(
      join(root, '.lock.json'),
      readFileSync(join(root, '.lock.json'), 'utf8').replace(/"owner":"...../, '"owner":"other'),
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

  it('a reader that slept looks at the lock before it answers', async () => {
    const clock = new ManualClock();
    const store = await open({ clock });
    await commit(store, batch([put('a')]));
    rmSync(join(root, '.lock.json'));
    expect(text(await read(store, 'a'))).toBe('1');
    await clock.advance(2_500);
    await expect(read(store, 'a')).rejects.toMatchObject({ code: 'STORAGE_LOCKED', effect: 'none' });
  });

  it.each([
    ['a file is where the directory should be', () => writeFileSync(join(root, 'file'), ''), 'file'],
    ['a file is on the way to it', () => writeFileSync(join(root, 'file'), ''), 'file/deeper'],
  ])('cannot be opened: %s', async (_, prepare, directory) => {
    prepare();
    await expect(provider({ directory: join(root, directory) }).open()).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      effect: 'none',
    });
  });
});

describe('opening', () => {
  it('again gives back what was there; twice is refused', async () => {
    const store = await open();
    await commit(store, batch([put('a', '{"title":"Tea"}')]));
    await expect(store.open()).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    await store.close();
    await expect(read(store, 'a')).rejects.toMatchObject({ code: 'STORAGE_NOT_OPEN' });
    await Promise.all([store.close(), store.open()]);
    expect(text(await read(store, 'a'))).toBe('{"title":"Tea"}');
  });

  it('after a clean close writes nothing, and the first commit begins a journal of its own', async () => {
    const store = await open();
    await commit(store, batch([put('a')]));
    await store.close();
    disk.calls = [];
    await store.open();
    expect(disk.calls).toEqual(['syncdir root']);
    disk.calls = [];
    await commit(store, batch([put('b')]));
    expect(disk.calls).toEqual([
      'create journal-2.jsonl',
      'write journal-2.jsonl',
      'sync journal-2.jsonl',
      'syncdir tenant.acme',
      'write journal-2.jsonl',
      'sync journal-2.jsonl',
    ]);
  });

  it('after anything else writes what it found as a new generation, synced, before the first answer', async () => {
    await commit(await open(), batch([put('a')]));
    disk.calls = [];
    const next = await open({ processes: killed });
    expect(disk.calls).toEqual([
      'syncdir root',
      'syncdir tenant.acme',
      ...newGeneration(2),
      'remove journal-1.jsonl',
    ]);
    expect(text(await read(next, 'a'))).toBe('1');
  });

  it('a lock that was taken over is no clean close, whatever the journals say', async () => {
    const store = await open();
    await commit(store, batch([put('a')]));
    const lock = readFileSync(join(root, '.lock.json'));
    await store.close();
    writeFileSync(join(root, '.lock.json'), lock);
    await open({ processes: killed });
    expect(existsSync(join(root, 'tenant.acme', 'snapshot-2.json'))).toBe(true);
  });

  it('makes the directories above it, and syncs them', async () => {
    await open({ directory: join(root, 'a', 'b') });
    expect(disk.calls.slice(0, 4)).toEqual(['make a', 'syncdir root', 'make b', 'syncdir a']);
    expect(disk.calls).toEqual(expect.arrayContaining(['syncdir a', 'syncdir root', 'syncdir b']));
  });

  it('clears away what was dropped or never finished, once that is on disk', async () => {
    const store = await open();
    await commit(store, batch([put('a')]));
    await store.close();
    for (const name of ['.dropped-0123456789abcdef-tenant.gone', '.new-0123456789abcdef'])
      mkdirSync(join(root, name));
    writeFileSync(join(root, '.dropped-0123456789abcdef-tenant.gone', 'journal-1.jsonl'), '');
    disk.calls = [];
    await store.open();
    expect(disk.calls.slice(0, 4)).toEqual([
      'make tenant.gone',
      'unmake tenant.gone',
      'syncdir root',
      'remove journal-1.jsonl',
    ]);
    expect(readdirSync(root).toSorted()).toEqual(['.kvent.json', '.lock.json', 'tenant.acme']);
  });

  it('refuses databases without the marker of a store, and a store that is not the one it had open', async () => {
    const store = await open();
    await commit(store, batch([put('a')]));
    await store.close();
    const marker = join(root, '.kvent.json');
    const was = readFileSync(marker, 'utf8');
    rmSync(marker);
    await expect(provider().open()).rejects.toMatchObject({ code: 'STORAGE_CORRUPT', place: marker });
    await expect(store.open()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    writeFileSync(marker, was.replace(/"id":"..../, '"id":"else'));
    await expect(store.open()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    writeFileSync(marker, 'nonsense');
    await expect(provider().open()).rejects.toMatchObject({ code: 'STORAGE_CORRUPT', place: marker });
    expect(readdirSync(root).toSorted()).toEqual(['.kvent.json', 'tenant.acme']);
  });

  it('makes no store where none is expected: the disk may not be mounted', async () => {
    await expect(provider({ create: 'never' }).open()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    await expect(provider({ create: 'never', directory: join(root, 'none') }).open()).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
    });
    expect(readdirSync(root)).toEqual([]);
  });

  it('leaves directories of others alone', async () => {
    mkdirSync(join(root, 'backup'));
    writeFileSync(join(root, 'backup', 'notes.txt'), 'mine');
    await (await open()).close();
    expect(readFileSync(join(root, 'backup', 'notes.txt'), 'utf8')).toBe('mine');
  });

  it('says where a tail was cut off', async () => {
    const store = await open();
    await commit(store, batch([put('a')]));
    const journal = join(root, 'tenant.acme', 'journal-1.jsonl');
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

describe('what is no file or directory of its own', () => {
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
    symlinkSync(victim, join(root, name));
    await open();
    expect(contents()).toEqual(untouched);
    expect(readdirSync(root)).not.toContain(name);
  });

  it('stays where the name is one of a file, and it is a directory', async () => {
    await (await open()).close();
    const path = join(root, `.kvent.json.${unique}.tmp`);
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
          rmSync(join(root, name));
          await (await open()).close();
        }
        symlinkSync(victim, join(root, name));
        await expect(provider().open()).rejects.toMatchObject({
          code: 'STORAGE_CORRUPT',
          effect: 'none',
          place: join(root, name),
        });
        expect(contents()).toEqual(untouched);
        expect(existsSync(join(root, '.lock.json'))).toBe(false);
      }
    },
  );

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
    const path = join(root, file);
    rmSync(path, { force: true });
    (kinds[kind] as (path: string) => void)(path);
    const refused = provider({ lockTimeoutMs: 600_000 }).open();
    await expect(refused).rejects.toMatchObject({ code: 'STORAGE_CORRUPT', effect: 'none', place: path });
    expect(contents()).toEqual(untouched);
  });
});

describe('who may read and write', () => {
  const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8);
  const everything = (): Record<string, string> =>
    Object.fromEntries(
      readdirSync(root, { recursive: true, encoding: 'utf8' })
        .sort()
        .map((name) => [name, mode(join(root, name))]),
    );

  it('is the owner alone, whatever the umask of the process leaves to others', async () => {
    const before = process.umask(0);
    try {
      const directory = join(root, 'deep', 'data');
      await commit(await open({ directory }), batch([put('a')]));
      // the first one counts as killed: so what it wrote is written anew, with a snapshot
      await commit(await open({ directory, processes: killed }), batch([put('b')]));
      const { '.kvent.json': _, ...found } = everything();
      for (const [name, given] of Object.entries(found)) {
        expect([name, given]).toEqual([name, lstatSync(join(root, name)).isDirectory() ? '700' : '600']);
      }
      expect(Object.keys(found).some((name) => name.includes('snapshot'))).toBe(true);
    } finally {
      process.umask(before);
    }
  });

  it('is what the options say', async () => {
    const before = process.umask(0);
    try {
      const store = await open({ directory: join(root, 'data'), directoryMode: 0o750, fileMode: 0o640 });
      await commit(store, batch([put('a')]));
      expect(everything()).toMatchObject({
        data: '750',
        'data/.kvent.json': '640',
        'data/.lock.json': '640',
        'data/tenant.acme': '750',
        'data/tenant.acme/journal-1.jsonl': '640',
      });
    } finally {
      process.umask(before);
    }
    for (const wrong of [
      { directoryMode: 0o600 },
      { fileMode: 0o400 },
      { fileMode: 0o1600 },
      { fileMode: 1.5 },
      { fileMode: '600' as never },
    ])
      expect(() => provider(wrong)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });

  it('is warned of where others may write to the root, unless the options say so', async () => {
    for (const [given, options, warned] of [
      [0o777, {}, true],
      [0o770, {}, true],
      [0o755, {}, false],
      [0o770, { directoryMode: 0o770 }, false],
    ] as const) {
      chmodSync(root, given);
      const warnings: string[] = [];
      const store = await open({ ...options, warn: (message) => warnings.push(message) });
      expect([given, warnings.length]).toEqual([given, warned ? 1 : 0]);
      if (warned) expect(warnings[0]).toContain(root);
      await store.close();
    }
  });

  it('is warned of where the root belongs to another user', async () => {
    const warnings: string[] = [];
    disk.theirs = true;
    await open({ warn: (message) => warnings.push(message) });
    expect(warnings).toEqual([expect.stringContaining('belongs to another user')]);
  });
});

describe('opened with readOnly', () => {
  const files = (): Record<string, string> =>
    Object.fromEntries(
      readdirSync(root, { recursive: true, encoding: 'utf8' })
        .sort()
        .map((name) => [
          name,
          lstatSync(join(root, name)).isFile() ? readFileSync(join(root, name), 'utf8') : '',
        ]),
    );

  it('changes nothing, not even what a dead owner left behind, and gives its lock back as it was', async () => {
    const store = await open();
    await commit(store, batch([put('a')]));
    const lock = readFileSync(join(root, '.lock.json'));
    await store.close();
    writeFileSync(join(root, '.lock.json'), lock);
    mkdirSync(join(root, '.dropped-0123456789abcdef-x'));
    const journal = join(root, 'tenant.acme', 'journal-1.jsonl');
    writeFileSync(journal, readFileSync(journal, 'utf8').trimEnd());
    writeFileSync(join(root, 'tenant.acme', 'snapshot-2.json.0123456789abcdef.tmp'), 'half');
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
    // whoever opens it next settles what the dead one left
    await open({ processes: killed });
    expect(readdirSync(join(root, 'tenant.acme')).sort()).toEqual(['journal-2.jsonl', 'snapshot-2.json']);
  });

  it('refuses whatever would change a row, and makes no store', async () => {
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

  it('take no more open journals than openJournalsMax, one after the other, all at once, again and again; nothing is lost', async () => {
    for (const openJournalsMax of [1, 4]) {
      const counted = counting();
      const directory = join(root, `max-${openJournalsMax}`);
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
      // not one of them has to be recovered
      const again = await open({ directory, openJournalsMax });
      for (const name of names) expect(await read(again, 'k2', name)).toBeDefined();
      expect(readdirSync(join(directory, 'tenant.t7'))).toEqual(['journal-1.jsonl']);
      // as if that process had been killed: all of them have to be
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
      // the last one that rests may be closing its journal while the next one is made
      expect(counted.most).toBeLessThanOrEqual(openJournalsMax);
    }
    for (const wrong of [0, 1.5, Number.NaN])
      expect(() => provider({ openJournalsMax: wrong })).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTION' }),
      );
  });

  it('hand the place of a journal on, whenever somebody comes for it', async () => {
    const store = await open({ openJournalsMax: 1 });
    for (let round = 0; round < 60; round += 1) {
      await commit(store, batch([put('a')], [], 'tenant:t1'));
      const other = turn().then(() => commit(store, batch([put('a')], [], 'tenant:t2')));
      for (let wait = 0; wait < round % 12; wait += 1) await Promise.resolve();
      await commit(store, batch([put('b')], [], 'tenant:t1'));
      expect(await other).toMatchObject({ outcome: 'committed' });
    }
  });

  it('that only ask, or delete what is not there, are forgotten; what comes at that moment is not lost', async () => {
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

  it('whose journal was exchanged while it rested are not written to', async () => {
    const store = await open({ openJournalsMax: 1 });
    await commit(store, batch([put('a')], [], 'tenant:t1'));
    await commit(store, batch([put('a')], [], 'tenant:t2'));
    const path = join(root, 'tenant.t1', 'journal-1.jsonl');
    const other = readFileSync(join(root, 'tenant.t2', 'journal-1.jsonl'));
    writeFileSync(path, other);
    expect(failed(await commit(store, batch([put('b')], [], 'tenant:t1')))).toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      effect: 'none',
    });
    expect(readFileSync(path)).toEqual(other);
  });
});

describe('a clock that was ten years ahead and was put right', () => {
  const hour = 3_600_000;
  const day = 24 * hour;
  const kept = (key: string): Change => ({ ...(put(key) as Change & { kind: 'put' }), ttl: hour });

  /** Opens on this clock, and answers what it warned of. */
  async function openAt(clock: ManualClock): Promise<readonly [JsonFileProvider, string[]]> {
    const warnings: string[] = [];
    return [await open({ clock, warn: (message) => warnings.push(message) }), warnings];
  }

  it.each(['the row is written before', 'the row is written behind', 'another row is written behind'])(
    'keeps a row of one hour no longer than that, when %s; it is told when the store is opened',
    async (order) => {
      const clock = new ManualClock();
      const [store] = await openAt(clock);
      const start = clock.now();
      clock.setNow(start + 3_650 * day);
      await commit(
        store,
        batch([order.startsWith('the row is written before') ? kept('row') : put('ahead')]),
      );
      clock.setNow(start);
      if (order === 'the row is written behind') await commit(store, batch([kept('row')]));
      if (order.startsWith('another')) await commit(store, batch([kept('row'), put('other')]));
      await store.close();

      await clock.advance(hour / 2);
      const [soon, told] = await openAt(clock);
      expect(told).toEqual([expect.stringContaining('ahead of this machine')]);
      expect(await read(soon, 'row')).toBeDefined();
      await soon.close();

      await clock.advance(30 * day);
      const [later] = await openAt(clock);
      expect(await read(later, 'row')).toBeUndefined();
      await commit(later, batch([put('new')]));
      await later.close();
      await clock.advance(day);
      const [last] = await openAt(clock);
      expect((await read(last, 'new'))?.updatedAt).toBeGreaterThan(start + 3_680 * day);
    },
  );

  it('while nobody had the store open counts from the first opening behind it', async () => {
    const clock = new ManualClock();
    const start = clock.now();
    clock.setNow(start + 3_650 * day);
    const [store] = await openAt(clock);
    await commit(store, batch([kept('row')]));
    await store.close();
    clock.setNow(start);
    const [first, told] = await openAt(clock);
    expect(told).toHaveLength(1);
    await first.close();
    await clock.advance(30 * day);
    const [second] = await openAt(clock);
    expect(await read(second, 'row')).toBeUndefined();
  });

  it('is told of no clock that is only a little behind', async () => {
    const clock = new ManualClock();
    const [store] = await openAt(clock);
    await commit(store, batch([put('a')]));
    await store.close();
    clock.setNow(clock.now() - 1_000);
    expect((await openAt(clock))[1]).toEqual([]);
  });
});

describe('compaction', () => {
  const small = { compaction: { ratio: 1, minimumBytes: 1_500 } };
  const files = (): string[] => readdirSync(join(root, 'tenant.acme')).toSorted();

  it('begins a journal, says so in the old one, writes the snapshot, and only then removes what is older', async () => {
    const store = await open({ ...small, compaction: { ratio: 1, minimumBytes: 1 } });
    disk.calls = [];
    await commit(store, batch([put('a')]));
    await until(() => disk.calls.includes('remove journal-1.jsonl'));
    expect(disk.calls.slice(9)).toEqual(
      newGeneration(2)
        .toSpliced(4, 0, 'write journal-1.jsonl', 'sync journal-1.jsonl')
        .concat('remove journal-1.jsonl'),
    );
    expect(readFileSync(join(root, 'tenant.acme', 'snapshot-2.json'), 'utf8')).toContain('"upTo":1,');
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
    disk.fail = () => undefined;
    const rows = await exported(store);
    await store.close();
    await store.open();
    expect(await exported(store)).toEqual(rows);
  });
});

describe('administration', () => {
  it('drops with one rename, synced, before it answers', async () => {
    const store = await open();
    await commit(store, batch([put('a')]));
    disk.calls = [];
    expect(await store.administration.drop(database)).toBe(true);
    expect(disk.calls).toEqual([
      'write journal-1.jsonl',
      'sync journal-1.jsonl',
      'rename tenant.acme dropped',
      'syncdir root',
      'remove journal-1.jsonl',
      'unmake dropped',
    ]);
    expect(await store.administration.drop(database)).toBe(false);
    expect(await commit(store, batch([put('b')], [absent('a')]))).toMatchObject({ outcome: 'committed' });
    expect(readdirSync(join(root, 'tenant.acme'))).toEqual(['journal-1.jsonl']);
  });

  it('that cannot drop leaves the database as it was', async () => {
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

  it('says that the outcome of a drop is not known when the lock was lost behind it', async () => {
    const store = await open();
    await commit(store, batch([put('a')]));
    disk.fail = (call) => {
      if (/^rename tenant/.test(call)) rmSync(join(root, '.lock.json'));
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

  it('says of an import that stopped how much of it is there', async () => {
    const store = await open();
    const rows = Array.from({ length: 600 }, (_, index) => ({
      ...address(`k${index}`),
      row: { version: '1', value: { kind: 'json', text: '1' } as const, updatedAt: 1 },
    }));
    let writes = 0;
    disk.fail = (call) => {
      // the first line, five hundred rows, and the rest
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

  it('exports the rows of one moment while commits go on', async () => {
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

it('an idle owner says in the journal what is on disk', async () => {
  const clock = new ManualClock();
  const store = await open({ clock });
  await commit(store, batch([put('a')]));
  const lines = (): string[] =>
    readFileSync(join(root, 'tenant.acme', 'journal-1.jsonl'), 'utf8')
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

/**
 * Lets the event loop turn until something is so; a test that never gets there runs into Jest's own
 * time limit.
 */
async function until(so: () => boolean): Promise<void> {
  while (!so()) await new Promise((resolve) => setImmediate(resolve));
}
