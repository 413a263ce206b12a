/** The feed of the JSON file: what the clauses and the faults of a whole disk do not reach. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { ManualClock } from '../../testing/kit/manual-clock.js';
import type { Change, CommitResult, FeedEntry, FeedPosition, Row } from '../../core/port/storage-provider.js';
import { encodeKey } from '../../core/encoding/key-encoding.js';
import { HintSource } from '../../core/providers/hint-source.js';
import type { FileSystem, OpenFile } from './disk/file-system.js';
import { nodeFileSystem } from './disk/node-file-system.js';
import type { JsonFileProvider } from './json-file-provider.js';
import { StoreFeed } from './database/store-feed.js';
import { salvageJsonFile } from './salvage.js';
import {
  address,
  batch,
  bench,
  commit,
  database,
  failed,
  failOn,
  killed,
  open,
  put,
  until,
} from './spec-support.js';

const other = 'tenant:other';
const feedPut = (key: string): Change => ({ ...put(key), feed: true }) as Change;
const eventPut = (key: string): Change => ({
  ...put(key),
  address: { container: 'event:note', entity: 'e', key },
});

async function positionOf(store: JsonFileProvider, key: string, of = database): Promise<FeedPosition> {
  const result = await commit(store, batch([feedPut(key)], [], of));
  if (result.outcome !== 'committed' || result.position === undefined) throw new Error(result.outcome);
  return result.position;
}

async function entriesOf(store: JsonFileProvider): Promise<readonly FeedEntry[]> {
  return (await store.feed({ limit: 100 })).entries;
}
const keysOf = async (store: JsonFileProvider): Promise<readonly string[]> =>
  (await entriesOf(store)).map(({ address: { key } }) => key);

/** The hints of the feed; they end with the store. */
const feedHints = (store: JsonFileProvider): AsyncIterator<unknown> =>
  store.hints([], new AbortController().signal)[Symbol.asyncIterator]();

const reservations = (): readonly string[] =>
  readdirSync(bench.root).filter((name) => name.startsWith('.feed-'));

/** The real disk, on which writes to the journal that is created first wait on demand. */
class Gate {
  readonly fileSystem: FileSystem;
  #opened: Promise<void> | undefined;
  /** Lets the writes go on. */
  open: () => void = () => undefined;
  /** Resolves when a write waits. */
  reached: Promise<void> | undefined;
  #reach: () => void = () => undefined;

  constructor() {
    let isFirst = true;
    this.fileSystem = {
      ...nodeFileSystem,
      open: async (path, mode, permissions) => {
        const file = await nodeFileSystem.open(path, mode, permissions);
        if (!isFirst || !path.includes('journal')) return file;
        isFirst = false;
        return this.#gated(file);
      },
    };
  }

  shut(): void {
    this.#opened = new Promise((resolve) => (this.open = resolve));
    this.reached = new Promise((resolve) => (this.#reach = resolve));
  }

  #gated(file: OpenFile): OpenFile {
    return {
      read: (into, position) => file.read(into, position),
      write: async (bytes, position) => {
        this.#reach();
        await this.#opened;
        return await file.write(bytes, position);
      },
      truncate: (length) => file.truncate(length),
      sync: () => file.sync(),
      size: () => file.size(),
      close: () => file.close(),
    };
  }
}

/** As a release without the feed has left it. */
function makeOld(): void {
  const marker = join(bench.root, '.kvent.json');
  const { feed: _, ...before } = JSON.parse(readFileSync(marker, 'utf8')) as Record<string, unknown>;
  writeFileSync(marker, `${JSON.stringify(before)}\n`);
  for (const name of reservations()) rmSync(join(bench.root, name));
}

describe('a reader of the feed', () => {
  it('waits for a commit that stands before what can be read, and ends with its signal', async () => {
    const gate = new Gate();
    const store = await open({ fileSystem: gate.fileSystem });
    await positionOf(store, 'first');
    const second = await positionOf(store, 'second', other);
    gate.shut();
    const held = positionOf(store, 'held');
    await gate.reached;
    expect(await store.feed({ limit: 100 })).toMatchObject({ next: second, upToDate: true });
    const behind = await positionOf(store, 'behind', other);
    const reading = store.feed({ limit: 100 });
    const aborting = new AbortController();
    const aborted = store.feed({ limit: 100, signal: aborting.signal });
    aborting.abort();
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' });
    gate.open();
    const { entries, next } = await reading;
    expect(entries.map(({ address: { key } }) => key)).toEqual(['first', 'second', 'held', 'behind']);
    expect(next).toBe(behind);
    expect((await held) < behind).toBe(true);
  });

  it('stops before a commit whose outcome is unknown, until the store is opened again', async () => {
    const clock = new ManualClock();
    const store = await open({ clock });
    await positionOf(store, 'first', other);
    await positionOf(store, 'second');
    failOn(/^sync journal/);
    const result = await commit(store, batch([feedPut('unknown')]));
    expect(failed(result)).toMatchObject({ code: 'STORAGE_OUTCOME_UNKNOWN' });
    bench.disk.fail = () => undefined;
    expect((await store.feed({ limit: 0 })).heldBackMs).toBeUndefined();
    const last = await positionOf(store, 'behind', other);
    await clock.advance(500);
    const page = await store.feed({ limit: 100 });
    expect(page.entries.map(({ address: { key } }) => key)).toEqual(['first', 'second']);
    expect([page.heldBackMs, page.heldBackTo]).toEqual([500, last]);
    await store.close();
    await store.open();
    expect(await keysOf(store)).toEqual(['first', 'second', 'unknown', 'behind']);
    expect((await store.feed({ limit: 0 })).heldBackMs).toBeUndefined();
  });

  it('goes on once the database of such a commit is dropped', async () => {
    const store = await open();
    await positionOf(store, 'first');
    await positionOf(store, 'second', other);
    failOn(/^sync journal/);
    await commit(store, batch([feedPut('unknown')]));
    bench.disk.fail = () => undefined;
    await positionOf(store, 'behind', other);
    expect(await keysOf(store)).toEqual(['first', 'second']);
    const hints = feedHints(store);
    await store.administration.drop(database);
    expect((await hints.next()).done).toBe(false);
    expect(await keysOf(store)).toEqual(['second', 'behind']);
  });
});

it('hints at an event whose caller has left while it was written', async () => {
  const store = await open();
  await positionOf(store, 'first');
  const hints = feedHints(store);
  bench.disk.calls = [];
  bench.disk.shut();
  const leaving = new AbortController();
  const committing = store.commit([batch([feedPut('left')])], { signal: leaving.signal });
  await until(() => bench.disk.calls.includes('sync journal-1.jsonl'));
  leaving.abort();
  const [result] = await committing;
  expect(failed(result as CommitResult)).toMatchObject({ code: 'ABORTED', effect: 'unknown' });
  bench.disk.open();
  expect((await hints.next()).done).toBe(false);
  expect(await keysOf(store)).toEqual(['first', 'left']);
});

describe('a position', () => {
  it('is not given again when its row was deleted and the store is opened again', async () => {
    const store = await open();
    const before = await positionOf(store, 'a');
    await commit(store, batch([{ kind: 'delete', address: address('a') }]));
    await store.administration.compact?.();
    await store.close();
    await store.open();
    const { next } = await store.feed({ limit: 0, after: before });
    expect(next).toBe(before);
    expect((await positionOf(store, 'b')) > before).toBe(true);
    expect(reservations()).toHaveLength(1);
  });

  it('is not given again after the process was killed', async () => {
    const store = await open();
    const before = await positionOf(store, 'a');
    await commit(store, batch([{ kind: 'delete', address: address('a') }]));
    const next = await open({ processes: killed });
    expect((await positionOf(next, 'b')) > before).toBe(true);
  });

  it('cannot be written before it is reserved; other commits need no reservation', async () => {
    const store = await open();
    await store.close();
    await store.open();
    failOn(/^create \.feed/, 'ENOSPC');
    expect(failed(await commit(store, batch([feedPut('a')])))).toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      effect: 'none',
    });
    expect(await commit(store, batch([put('b')]))).toMatchObject({ outcome: 'committed' });
    const { next } = await store.feed({ limit: 0 });
    bench.disk.fail = () => undefined;
    expect((await positionOf(store, 'a')) > next).toBe(true);
    expect(await keysOf(store)).toEqual(['a']);
  });

  it.each([1, 4, 5, 9, 40])(
    'can be read once it is stored, also where %s were taken at once while 4 were being reserved',
    async (count) => {
      let proceed: () => void = () => undefined;
      const isOwner = new Promise<void>((resolve) => (proceed = resolve));
      const feed = new StoreFeed({
        fileSystem: bench.disk,
        root: bench.root,
        verifyOwner: () => isOwner,
        hints: new HintSource(),
        blockSize: 4n,
      });
      const store = async (positions: ReturnType<StoreFeed['begin']>): Promise<void> => {
        if (!feed.isReserved(positions.last)) await feed.reserve(positions.last);
        for (const position of positions.taken) feed.index.set(position, database, address(`${position}`));
        positions.end('stored');
      };
      const groups = Array.from({ length: 3 }, () => feed.begin());
      const takes = [1, count, count].map((taken, index) => {
        for (let each = 0; each < taken; each += 1) groups[index]?.next();
        return store(groups[index] as ReturnType<StoreFeed['begin']>);
      });
      proceed();
      await Promise.all(takes);
      const rowAt = (): Row => ({ version: '1', value: { kind: 'json', text: '1' }, updatedAt: 0 });
      const { entries } = await feed.page({ limit: 1_000 }, { rowAt, now: () => 0 });
      expect(entries).toHaveLength(1 + count + count);
      expect(reservations()).toHaveLength(1);
    },
  );

  it('is new where a copied directory has a row at the same one', async () => {
    const store = await open();
    const elsewhere = mkdtempSync(join(tmpdir(), 'kvent-json-'));
    const source = await open({ directory: elsewhere });
    expect(await positionOf(store, 'a')).toBe(await positionOf(source, 'b', other));
    await Promise.all([store.close(), source.close()]);
    cpSync(join(elsewhere, 'tenant.other'), join(bench.root, 'tenant.other'), { recursive: true });
    rmSync(elsewhere, { recursive: true });
    await store.open();
    const entries = await entriesOf(store);
    expect(entries.map(({ address: { key } }) => key)).toEqual(['a', 'b']);
    await store.close();
    await store.open();
    expect(await entriesOf(store)).toEqual(entries);
  });

  it('is new for the later rows of a stream too, so that a copied directory has its streams in order', async () => {
    const store = await open();
    for (const key of ['a1', 'a2', 'a3']) await positionOf(store, key);
    await commit(store, batch([{ kind: 'delete', address: address('a2') }]));
    const elsewhere = mkdtempSync(join(tmpdir(), 'kvent-json-'));
    const source = await open({ directory: elsewhere });
    for (const key of ['b1', 'b2', 'b3']) await positionOf(source, key, other);
    await Promise.all([store.close(), source.close()]);
    cpSync(join(elsewhere, 'tenant.other'), join(bench.root, 'tenant.other'), { recursive: true });
    rmSync(elsewhere, { recursive: true });
    await store.open();
    const { next } = await store.feed({ limit: 0 });
    expect(await keysOf(store)).toEqual(['a1', 'a3', 'b1', 'b2', 'b3']);
    await store.administration.drop(other);
    await store.close();
    await store.open();
    expect((await positionOf(store, 'a4')) > next).toBe(true);
  });

  it('survives a salvage, and what is put later stands behind all of the original', async () => {
    const store = await open();
    await positionOf(store, 'a');
    const last = await positionOf(store, 'b');
    await commit(store, batch([{ kind: 'delete', address: address('b') }]));
    const before = await entriesOf(store);
    await store.close();
    const to = mkdtempSync(join(tmpdir(), 'kvent-json-'));
    await salvageJsonFile(bench.root, to);
    const copy = await open({ directory: to });
    expect(await entriesOf(copy)).toEqual(before);
    expect((await positionOf(copy, 'c')) > last).toBe(true);
    await copy.close();
    rmSync(to, { recursive: true });
  });
});

describe('a store that is older than the feed', () => {
  async function oldStore(warnings: string[] = []): Promise<JsonFileProvider> {
    const clock = new ManualClock();
    const store = await open({ clock, warn: (message) => void warnings.push(message) });
    for (const [key, of] of [
      ['z', database],
      ['y', other],
      ['x', database],
    ] as const) {
      await commit(store, batch([eventPut(key), put(`state ${key}`)], [], of));
      await clock.advance(10);
    }
    await store.close();
    makeOld();
    return store;
  }

  it('gives its events positions in the order of their times, once', async () => {
    const store = await oldStore();
    await store.open();
    const entries = await entriesOf(store);
    expect(entries.map(({ address: { key } }) => key)).toEqual(['z', 'y', 'x']);
    await commit(store, batch([eventPut('not in the feed')]));
    await positionOf(store, 'new');
    await store.close();
    await store.open();
    expect(await keysOf(store)).toEqual(['z', 'y', 'x', 'new']);
    expect((await entriesOf(store)).slice(0, 3)).toEqual(entries);
  });

  it('reports it once it is done, and in a large store also before', async () => {
    const warnings: string[] = [];
    const store = await oldStore(warnings);
    await store.open();
    const done = `The store in ${bench.root}: 3 stored events have got their positions in the feed.`;
    expect(warnings.splice(0)).toEqual([done]);
    for (const tenant of [database, other]) {
      const row: Row = { version: '1', value: { kind: 'json', text: '1' }, updatedAt: 1 };
      const keys = Array.from({ length: 10_000 }, (_, n) => encodeKey([n]));
      const rows = keys.map((key) => ({ container: 'event:large', entity: 'e', key, row }));
      await store.administration.import(tenant, rows);
    }
    await store.close();
    makeOld();
    await store.open();
    expect(warnings.splice(0)).toEqual([
      expect.stringContaining(
        'older than the feed: 20000 stored events get positions in it, and 2 databases',
      ),
      expect.stringContaining('10000 of 20000 stored events have got their positions in the feed so far.'),
      expect.stringContaining('20000 stored events have got their positions in the feed.'),
    ]);
    await store.close();
    await store.open();
    expect(warnings).toEqual([]);
  });

  it.each([/^rename snapshot/, /^create \.feed/, /^rename \.kvent/])(
    'goes on with it if the first opening fails: %s',
    async (call) => {
      const store = await oldStore();
      failOn(call);
      await expect(store.open()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
      bench.disk.fail = () => undefined;
      await store.open();
      expect(await keysOf(store)).toEqual(['z', 'y', 'x']);
    },
  );

  it('has them also where it is only read', async () => {
    const store = await oldStore();
    const warnings: string[] = [];
    const reader = await open({ readOnly: true, warn: (message) => void warnings.push(message) });
    expect(warnings.filter((each) => !each.includes('clock'))).toEqual([]);
    const entries = await entriesOf(reader);
    expect(entries.map(({ address: { key } }) => key)).toEqual(['z', 'y', 'x']);
    await reader.close();
    expect(reservations()).toEqual([]);
    await store.open();
    expect(await entriesOf(store)).toEqual(entries);
  });
});

it('is refused where its reservation is missing', async () => {
  const store = await open();
  await positionOf(store, 'a');
  await store.close();
  for (const name of reservations()) rmSync(join(bench.root, name));
  await expect(store.open()).rejects.toMatchObject({
    code: 'STORAGE_CORRUPT',
    place: expect.stringContaining('.feed-'),
  });
});
