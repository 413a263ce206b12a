/**
 * For the specs of the JSON-file provider: a directory and a disk of their own for each test, and
 * providers that are closed after it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach } from '@jest/globals';
import type { Batch, Change, Check, CommitResult, Row } from '../../core/port/storage-provider.js';
import { versionSource } from '../../core/port/version.js';
import { creates, type FileSystem, type OpenFile, type OpenMode } from './disk/file-system.js';
import { JsonFileProvider, type JsonFileProviderOptions } from './json-file-provider.js';
import { nodeFileSystem } from './disk/node-file-system.js';
import { systemProcesses } from './lock/process-identity.js';

export const opened: JsonFileProvider[] = [];
const version = versionSource();
export const database = 'tenant:acme';

/**
 * The real disk. It logs its calls, except those on the lock, and fails or waits on demand.
 */
export class Disk implements FileSystem {
  calls: string[] = [];
  writeAhead = nodeFileSystem.writeAhead;
  /** How many of the given bytes a write transfers; all of them by default. */
  portion: ((bytes: Uint8Array) => number) | undefined;
  readonly readNow = nodeFileSystem.readNow;
  /** Throws for the call that should fail. */
  fail: (call: string) => void = () => undefined;
  #gate: Promise<void> | undefined;
  #opened: (() => void) | undefined;

  /** Syncs of journals wait until `open` is called. */
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
  /** Whether all files belong to another user. */
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

  /** With a path it opens a file; without one it lets the syncs go on. */
  open(): void;
  open(path: string, mode: OpenMode, permissions?: number): Promise<OpenFile>;
  open(path?: string, mode: OpenMode = 'read', permissions?: number): Promise<OpenFile> | void {
    if (path === undefined) return this.#opened?.();
    return this.#file(path, mode, permissions);
  }

  async #file(path: string, mode: OpenMode, permissions?: number): Promise<OpenFile> {
    const name = plain(path);
    const file = await (creates(mode)
      ? this.#do(`create ${name}`, () => nodeFileSystem.open(path, mode, permissions))
      : nodeFileSystem.open(path, mode));
    const isSynced = mode === 'write-synced' || mode === 'create-synced';
    return {
      read: (into, position) => file.read(into, position),
      write: async (bytes, position) => {
        const count = await this.#do(`write ${name}`, () =>
          file.write(bytes.subarray(0, this.portion?.(bytes)), position),
        );
        if (isSynced) await this.#do(`sync ${name}`, () => Promise.resolve());
        return count;
      },
      truncate: (length) => this.#do(`truncate ${name}`, () => file.truncate(length)),
      sync: () => this.#do(`sync ${name}`, () => file.sync()),
      size: () => file.size(),
      close: () => file.close(),
    };
  }
}

/** The last part of a path, without its random part. */
const plain = (path: string): string =>
  path === bench.root
    ? 'root'
    : basename(path)
        .replace(/\.[0-9a-f]{16}\.tmp$/, '.tmp')
        .replace(/^\.(new|dropped|lock)-[0-9a-f]{16}([.-].*)?$/, '$1');

/** The directory and the disk of the current test. */
export const bench = { root: '', disk: new Disk() };
beforeEach(() => {
  bench.root = mkdtempSync(join(tmpdir(), 'kvent-json-'));
  bench.disk = new Disk();
});
afterEach(async () => {
  bench.disk.fail = () => undefined;
  bench.disk.open();
  for (const each of opened.splice(0)) await each.close();
  rmSync(bench.root, { recursive: true });
});

export const provider = (options: Partial<JsonFileProviderOptions> = {}): JsonFileProvider =>
  new JsonFileProvider({ directory: bench.root, fileSystem: bench.disk, ...options });

export async function open(options: Partial<JsonFileProviderOptions> = {}): Promise<JsonFileProvider> {
  const made = provider(options);
  await made.open();
  opened.push(made);
  return made;
}

export const address = (key: string) => ({ container: 'state:x', entity: 'e', key });
export const put = (key: string, text = '1'): Change => ({
  kind: 'put',
  address: address(key),
  value: { kind: 'json', text },
  ttl: 'never',
});
export const batch = (changes: readonly Change[], checks: readonly Check[] = [], of = database): Batch => ({
  database: of,
  version: version(),
  checks,
  changes,
});
export const absent = (key: string): Check => ({ address: address(key), expected: 'absent' });

export async function commit(to: JsonFileProvider, ...batches: Batch[]): Promise<CommitResult> {
  return (await to.commit(batches))[0] as CommitResult;
}
export async function read(from: JsonFileProvider, key: string, of = database): Promise<Row | undefined> {
  return (await from.read([{ database: of, ...address(key) }])).rows[0];
}
export const text = (row: Row | undefined): string | undefined =>
  row?.value.kind === 'json' ? row.value.text : undefined;
export const failure = (code: string): NodeJS.ErrnoException =>
  Object.assign(new Error(`${code}: as the test asks`), { code });
export const failOn = (pattern: RegExp, code = 'EIO'): void => {
  bench.disk.fail = (call) => {
    if (pattern.test(call)) throw failure(code);
  };
};
export const failed = (result: CommitResult) => (result.outcome === 'failed' ? result.error : undefined);
/** As if the owner was killed: its process is gone. */
export const killed = { own: { ...systemProcesses().own, pid: 1 }, isGone: () => true };
/** Lets the event loop run until the condition holds. */
export async function until(so: () => boolean): Promise<void> {
  while (!so()) await setImmediate();
}
