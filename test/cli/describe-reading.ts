/**
 * The commands that read and change single values, as processes, on a directory and on Postgres.
 */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { defineStream, event, EventStore, type EventStream } from '@kvent/event-store/core';
import { PostgresProvider } from '@kvent/key-value-postgres';
import {
  defineState,
  JsonFileProvider,
  openStorage,
  type KeyValueStorage,
  type StorageProvider,
} from '@kvent/key-value-storage';
import { ManualClock } from '@kvent/key-value-storage/testing';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { KventProcess } from './kvent.js';
import { lines, withOpened, Workspace } from './workspace.js';

const Products = defineState<unknown>('product');
const Orders = defineStream('order', {
  events: { placed: event<{ cents: number }>() },
  initial: () => 0,
  evolve: (sum: number, { data }) => sum + data.cents,
});
const placed = { type: 'placed', data: { cents: 900 } } as const;
const ordersOf = (storage: KeyValueStorage): EventStream<typeof Orders> =>
  new EventStore(storage, { clock: new ManualClock() }).stream(Orders);
let workspace: Workspace;
let database: FreshDatabase;

export function describeReading(): void {
  describe('kvent on values', () => {
    beforeAll(async () => {
      workspace = await Workspace.create();
      database = await freshDatabase();
      await fill(new JsonFileProvider({ directory: workspace.path('data') }));
      await fill(new PostgresProvider({ url: database.url }));
    });
    afterAll(async () => {
      await workspace[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    });
    values();
    following();
    aLockedDirectory();
    startUp();
  });
}

async function fill(provider: StorageProvider): Promise<void> {
  await using storage = await openStorage(provider, { tenant: 'acme' });
  await storage.store(Products).set('mug', { title: 'Mug' });
  await storage.store(Products).set(['tea', 1], { title: 'Tea' });
  await ordersOf(storage).append('o-1', [placed], { expectedVersion: 'absent' });
  // its process ends without closing it
  await ordersOf(storage).openSession('o-1', { sessionTimeoutMs: 3_600_000 });
}

function values(): void {
  it.each([
    ['a directory', () => 'data'],
    ['Postgres', () => database.url],
  ])(
    'of %s: lists, reads, writes, removes and counts them; shows, unlocks, verifies and compacts',
    async (_, location) => {
      const kvent = async (name: string, ...args: readonly string[]): Promise<string> => {
        const { code, stdout, stderr } = await workspace.kvent(...name.split(' '), location(), ...args);
        expect({ name, code, stderr }).toEqual({ name, code: 0, stderr: '' });
        return stdout;
      };
      expect(lines(await kvent('tenants'))[0]).toBe('acme');
      expect(lines(await kvent('ls', 'product')).map((line) => line.split(/ {2,}/)[0])).toEqual([
        'key',
        '["tea",1]',
        'mug',
      ]);
      const { etag } = JSON.parse(await kvent('get', 'product', 'mug', '--json')) as { etag: string };
      await kvent('put', 'product', 'mug', '{"title":"Cup"}', '--write', '--if-match', etag);
      expect(await kvent('get', 'product', 'mug')).toContain('{\n  "title": "Cup"\n}\n');
      await kvent('rm', 'product', '["tea",1]', '--write');
      expect(
        (JSON.parse(await kvent('stats', '--json')) as { readonly items: readonly object[] }).items,
      ).toContainEqual({ database: 'tenant:acme', kind: 'state', name: 'product', rows: 1, bytes: 15 });
      expect(await kvent('stream ls', 'order')).toMatch(/^o-1 +1 +held +\S+Z$/m);
      expect(await kvent('unlock', 'order', 'o-1', '--write')).toBe(
        'The stream order o-1 is free at version 1. The session that held it can write no more.\n',
      );
      expect(await kvent('stream show', 'order', 'o-1')).toMatch(
        /^ +1 +placed +\S+Z +\{"cents":900\}\nThe stream order o-1 is at version 1\.$/m,
      );
      expect(await kvent('verify')).toMatch(/is sound: \d rows read\.\n$/);
      expect(await kvent('compact', '--write')).toMatch(/ bytes freed\.| needs no compaction: /);
    },
  );
}

function following(): void {
  it.each([
    [
      'a directory that another process has open',
      () => 'data',
      () => new JsonFileProvider({ directory: workspace.path('data') }),
    ],
    ['Postgres', () => database.url, () => new PostgresProvider({ url: database.url })],
  ])('follows a stream of %s until Ctrl+C, and ends in order', async (_, location, provider) => {
    await using storage = await openStorage(provider(), { tenant: 'acme' });
    await ordersOf(storage).append('o-2', [placed], { expectedVersion: 'absent' });
    await using tail = workspace.start(
      'tail',
      location(),
      'order',
      'o-2',
      '--from',
      '1',
      '--interval',
      '0.05',
    );
    await tail.waitForStdout('1  placed');
    await ordersOf(storage).append('o-2', [placed, placed], { expectedVersion: 1 });
    await tail.waitForStdout('3  placed');
    const { code, stdout, stderr } = await tail.kill('SIGINT');
    expect({ code, stderr, lines: lines(stdout).length }).toEqual({ code: 0, stderr: '', lines: 3 });
  });
}

function aLockedDirectory(): void {
  it('refuses a directory that a process has open, and says what to do', async () => {
    await withOpened(new JsonFileProvider({ directory: workspace.path('data') }), async () => {
      const { code, stdout, stderr } = await workspace.kvent('get', 'data', 'product', 'mug', '--wait', '0');
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toMatch(
        /process \d+.*\[STORAGE_LOCKED, .*\] Stop that process, or wait for it: --wait 60\./,
      );
    });
  });
}

/** Writes the modules that the process has loaded to stderr: those of Node, and CommonJS. */
const printModules =
  "process.on('exit',()=>process._rawDebug(JSON.stringify({own:Object.keys(require.cache),node:process.moduleLoadList})));";

interface Loaded {
  readonly own: readonly string[];
  /** `NativeModule crypto`. */
  readonly node: readonly string[];
}

/** The sources of a module of the bundle, by its source map. */
function bundledSources(module: string): readonly string[] {
  const map = JSON.parse(readFileSync(`${module}.map`, 'utf8')) as { readonly sources: string[] };
  return map.sources;
}

function startUp(): void {
  // loading and compiling is most of the time of a call, so that a command has no more than it
  // needs
  const loadedBy = async (...args: readonly string[]): Promise<Loaded & { readonly code: number | null }> => {
    writeFileSync(workspace.path('modules.cjs'), printModules);
    const env = { NODE_OPTIONS: `--require=${workspace.path('modules.cjs')}` };
    const { code, stderr } = await new KventProcess(args, workspace.folder, { env }).exit;
    return { code, ...(JSON.parse(stderr.trimEnd().split('\n').at(-1) ?? '') as Loaded) };
  };

  it('loads for Postgres neither Nest nor TypeORM', async () => {
    const { code, own } = await loadedBy('ls', 'postgres://x@127.0.0.1:1/none', 'product');
    expect(code).toBe(1);
    expect(own.filter((module) => module.includes('/node_modules/pg/')).length).toBeGreaterThan(5);
    expect(own.filter((module) => /\/(typeorm|@nestjs)\//.test(module))).toEqual([]);
  });

  it.each([
    ['ls', 'pg://x@127.0.0.1:1/none', 'product'],
    ['ls', 'socket:/none?db=none', 'product'],
    ['copy', '--from=data', '--to=postgresql://x@127.0.0.1:1/none'],
  ])('loads no bundle for Postgres: %s %s', async (...args) => {
    const { code, own } = await loadedBy(...args);
    expect(code).toBe(1);
    expect(own.some((module) => module.includes('/node_modules/pg/'))).toBe(true);
    expect(own.filter((module) => module.includes('/cli/bundle/'))).toEqual([]);
  });

  it('loads for a directory neither Nest, nor Postgres, nor the stores, nor commander', async () => {
    const { code, own, node } = await loadedBy('ls', 'data', 'product', '--tenant', 'acme');
    expect(code).toBe(0);
    const bundle = own.filter((module) => module.includes('/cli/bundle/'));
    expect(own.filter((module) => !bundle.includes(module)).map((module) => basename(module))).toEqual([
      'modules.cjs',
      'kvent.cjs',
    ]);
    const sources = bundle.flatMap(bundledSources);
    expect(sources.length).toBeGreaterThan(50);
    expect(
      sources.filter((source) =>
        /nestjs|typeorm|\/pg\/|key-value-postgres|typed-store|commander|cli\/src\/(backup|init)\//.test(
          source,
        ),
      ),
    ).toEqual([]);
    expect(bundle.length).toBeLessThan(9);
    const kilobytes = bundle.reduce((sum, module) => sum + statSync(module).size, 0) / 1_000;
    expect(kilobytes).toBeLessThan(185);
    const heavy =
      /^NativeModule (child_process|cluster|dns|http2?|https|inspector|readline|repl|tls|worker_threads|internal\/deps\/cjs-module-lexer\/lexer)$/;
    expect(node.filter((module) => heavy.test(module))).toEqual([]);
  });
}
