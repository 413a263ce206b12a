/**
 * The commands that read and change single values, as processes, on a directory and on Postgres.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { defineState, JsonFileProvider, openStorage, type StorageProvider } from '@kvent/key-value-storage';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { KventProcess } from './kvent.js';
import { lines, withOpened, Workspace } from './workspace.js';

const Products = defineState<unknown>('product');
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
    aLockedDirectory();
    startUp();
  });
}

async function fill(provider: StorageProvider): Promise<void> {
  await using storage = await openStorage(provider, { tenant: 'acme' });
  await storage.store(Products).set('mug', { title: 'Mug' });
  await storage.store(Products).set(['tea', 1], { title: 'Tea' });
}

function values(): void {
  it.each([
    ['a directory', () => 'data'],
    ['Postgres', () => database.url],
  ])('of %s: lists, reads, writes, removes and counts them', async (_, location) => {
    const kvent = async (name: string, ...args: readonly string[]): Promise<string> => {
      const { code, stdout, stderr } = await workspace.kvent(name, location(), ...args);
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
    expect(JSON.parse(await kvent('stats', '--json'))).toMatchObject({
      items: [{ database: 'tenant:acme', kind: 'state', name: 'product', rows: 1 }],
    });
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

/** Prints the address of each module that the process loads to stderr. */
const printModules =
  "import{register}from'node:module';register('data:text/javascript,export async function load(url,context,next){process._rawDebug(url);return next(url,context)}')";

function startUp(): void {
  // one module costs about half a millisecond of CPU
  it('loads for a directory neither Nest, nor Postgres, nor the stores', async () => {
    const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(printModules)}` };
    const { code, stderr } = await new KventProcess(['get', 'data', 'product', 'mug'], workspace.folder, {
      env,
    }).exit;
    expect(code).toBe(0);
    const modules = lines(stderr).filter((line) => line.startsWith('file:'));
    expect(
      modules.filter((module) => /nestjs|typeorm|\/pg\/|key-value-postgres|typed-store/.test(module)),
    ).toEqual([]);
    expect(modules.length).toBeGreaterThan(50);
    expect(modules.length).toBeLessThan(100);
  });
}
