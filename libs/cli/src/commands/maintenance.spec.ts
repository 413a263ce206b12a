import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { defineState } from '@kvent/key-value-storage';
import type { RawRow } from '@kvent/key-value-storage/provider';
import { Folder, kvent, kventJson } from '../spec-support.js';

const Products = defineState<unknown>('product');
let folder: Folder;
let data: string;

beforeEach(async () => {
  folder = new Folder();
  data = folder.path('data');
  await folder.store((storage) => storage.store(Products).set('mug', { title: 'Mug' }));
});
afterEach(() => folder[Symbol.dispose]());

const row = (container: string, entity: string, key: string, value: RawRow['row']['value']): RawRow => ({
  container,
  entity,
  key,
  row: { version: '7', updatedAt: 1, value },
});
const event = { kind: 'json', text: '{"type":"placed"}' } as const;

/** Everything that the files of the directory contain. */
const contents = (): string =>
  readdirSync(data, { recursive: true, withFileTypes: true, encoding: 'utf8' })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'))
    .join('');

it('kvent verify says that a storage is sound', async () => {
  await folder.import('tenant:acme', [
    row('event:order', 'o-1', '!n1b1', event),
    row('head:order', '', 'o-1', { kind: 'number', number: 1n }),
  ]);
  expect(await kventJson('verify', data)).toMatchObject({ rows: 3, sound: true });
  expect((await kvent(['verify', data])).stdout).toMatch(
    /^database +rows +damage\ntenant:acme +3 +0\nJSON file \S+ is sound: 3 rows read\.\n$/,
  );
});

it('kvent verify ends with 1 for a stream whose events do not match its head', async () => {
  await folder.import('tenant:acme', [
    row('event:order', 'o-1', '!n1b1', event),
    row('event:order', 'o-1', '!n1b3', event),
    row('event:order', 'o-2', '!n1b1', event),
    row('head:order', '', 'o-1', { kind: 'number', number: 3n }),
  ]);
  const { exitCode, stdout } = await kvent(['verify', data]);
  expect(exitCode).toBe(1);
  expect(stdout).toContain(
    '  tenant:acme / stream order o-1: its head is at version 3, and it has 2 events, the last at 3\n',
  );
  expect(stdout).toContain('  tenant:acme / stream order o-2: its head is missing\n');
  expect(stdout).toMatch(/ is damaged at 2 places\.\n$/);
});

it('kvent verify names the line of a damaged file, and the way out', async () => {
  const journal = join(data, 'tenant.acme/journal-1.jsonl');
  writeFileSync(journal, readFileSync(journal, 'utf8').replace('Mug', 'Jug'));
  const { exitCode, stderr } = await kvent(['verify', data]);
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/journal-1\.jsonl:\d+.*\[STORAGE_CORRUPT, .*kvent salvage --from /);
});

it('kvent compact leaves no deleted value in the files', async () => {
  await folder.store(async (storage) => {
    await storage.store(Products).set('secret', 'a person');
    await storage.store(Products).delete('secret');
  });
  expect(contents()).toContain('a person');
  expect((await kvent(['compact', data])).exitCode).toBe(2);
  const { freedBytes } = await kventJson('compact', data, '--write');
  expect(freedBytes).toBeGreaterThan(0);
  expect(contents()).not.toContain('a person');
  expect(await kventJson('get', data, 'product', 'mug')).toMatchObject({ value: { title: 'Mug' } });
});
