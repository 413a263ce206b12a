/** The files that commands create: `kvent export` and `kvent backup`. */
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { defineState } from '@kvent/key-value-storage';
import { Folder, kvent } from '../spec-support.js';

const Products = defineState<unknown>('product');
let folder: Folder;
let data: string;

beforeEach(async () => {
  folder = new Folder();
  data = folder.path('data');
  await folder.store((storage) => storage.store(Products).set('mug', 1));
});
afterEach(() => folder[Symbol.dispose]());

describe.each([
  ['export', (file: string) => ['export', data, 'product', file]],
  ['backup', (file: string) => ['backup', '--from', data, '--to', file]],
] as const)('The file of kvent %s', (_name, argsFor) => {
  it.each(['u:PW@h', 'postgres://u:PW@h/x', 'postgres://u:PW@h/', "'file'", ' file'])(
    'has no name like %j, which may contain a password',
    async (name) => {
      const before = readdirSync('.');
      try {
        expect(await kvent(argsFor(name))).toMatchObject({
          exitCode: 2,
          stderr:
            'kvent: The name of a file must not contain an address, or start or end with a quote or blank.\n',
        });
        expect(readdirSync('.')).toEqual(before);
      } finally {
        rmSync(name, { force: true });
      }
    },
  );

  it.each([
    ['a FIFO', (path: string) => void execFileSync('mkfifo', [path])],
    ['a link to a file', (path: string) => symlinkSync(folder.path('kept'), path)],
    ['a link to nothing', (path: string) => symlinkSync(folder.path('none'), path)],
  ])('does not replace %s', async (_what, create) => {
    writeFileSync(folder.path('kept'), 'kept');
    const path = folder.path('target');
    create(path);
    const { ino } = lstatSync(path);
    for (const more of [[], ['--replace']])
      expect(await kvent([...argsFor(path), ...more])).toMatchObject({
        exitCode: 2,
        stderr: expect.stringContaining('target must be a plain file to be replaced'),
      });
    expect(lstatSync(path).ino).toBe(ino);
    expect(readdirSync(folder.path('.')).toSorted()).toEqual(['data', 'kept', 'target']);
  });

  it('replaces a plain file with --replace only', async () => {
    const path = folder.path('target');
    writeFileSync(path, 'before');
    expect(await kvent(argsFor(path))).toMatchObject({
      exitCode: 2,
      stderr: `kvent: ${path} exists. To overwrite it: --replace.\n`,
    });
    expect(readFileSync(path, 'utf8')).toBe('before');
    expect((await kvent([...argsFor(path), '--replace'])).exitCode).toBe(0);
    expect(readFileSync(path, 'utf8')).not.toBe('before');
  });
});

it('kvent export replaces no directory', async () => {
  mkdirSync(folder.path('target'));
  expect(await kvent(['export', data, 'product', folder.path('target'), '--replace'])).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining('must be a plain file'),
  });
});
