/** The files that commands create: `kvent export` and `kvent backup`. */
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { defineState } from '@kvent/key-value-storage';
import { putInPlace } from '../backup/put-in-place.js';
import { Output } from '../output/output.js';
import { run } from '../run.js';
import { Folder, kvent, Stream } from '../spec-support.js';

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

describe.each([
  ['export', (file: string) => ['export', data, 'product', file]],
  ['backup', (file: string) => ['backup', '--from', data, '--to', file]],
] as const)('A file that appears while kvent %s runs', (_name, argsFor) => {
  /** The progress is shown while the command writes its temporary file. */
  const runWhile = async (args: readonly string[], appear: () => void) => {
    const err = Object.assign(new Stream(), { isTTY: true });
    const write = err.write.bind(err);
    err.write = (text, done) => {
      if (/(export|writ)ing/.test(text)) appear();
      write(text, done);
    };
    const { exitCode } = await run(args, new Output(new Stream(), err, (text) => text));
    return { exitCode, stderr: err.written };
  };
  beforeEach(() => folder.store((storage) => storage.store(Products).set('long', 'x'.repeat(70_000))));

  it('is kept', async () => {
    const path = folder.path('target');
    const { exitCode, stderr } = await runWhile(argsFor(path), () => writeFileSync(path, 'theirs'));
    expect(stderr).toContain(`kvent: ${path} exists. To overwrite it: --replace.\n`);
    expect(exitCode).toBe(2);
    expect(readFileSync(path, 'utf8')).toBe('theirs');
    expect(readdirSync(folder.path('.')).toSorted()).toEqual(['data', 'target']);
  });

  it('and is a link is kept with --replace, too', async () => {
    const path = folder.path('target');
    const { exitCode, stderr } = await runWhile([...argsFor(path), '--replace'], () => {
      rmSync(path, { force: true });
      symlinkSync(folder.path('none'), path);
    });
    expect(stderr).toContain('must be a plain file to be replaced');
    expect(exitCode).toBe(2);
    expect(lstatSync(path).isSymbolicLink()).toBe(true);
    expect(readdirSync(folder.path('.')).toSorted()).toEqual(['data', 'target']);
  });
});

it.each(['link', 'EPERM', 'ENOTSUP'])('a new file is put in place, and replaces none: %s', async (code) => {
  const [temporary, path] = [folder.path('temporary'), folder.path('target')];
  const refuse = (): Promise<never> => Promise.reject(Object.assign(new Error(code), { code }));
  const options = code === 'link' ? {} : { linkFile: refuse };
  writeFileSync(temporary, 'new', { mode: 0o600 });
  await putInPlace(temporary, path, options);
  expect(readFileSync(path, 'utf8')).toBe('new');
  expect(lstatSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(folder.path('.')).toSorted()).toEqual(['data', 'target']);
  writeFileSync(temporary, 'newer');
  await expect(putInPlace(temporary, path, options)).rejects.toThrow('exists. To overwrite it: --replace.');
  expect(readFileSync(path, 'utf8')).toBe('new');
});

it.each([
  ['another state', ['produkt'], "has no entry of state 'produkt'; it has 'product'."],
  [
    'another container',
    ['product', '--container', 'shop'],
    "state 'product (container shop)'; it has 'product'.",
  ],
])('kvent export of %s replaces no file', async (_what, [state = '', ...options], message) => {
  const path = folder.path('target');
  writeFileSync(path, 'before');
  expect(await kvent(['export', data, state, path, '--replace', ...options])).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining(message),
  });
  expect(readFileSync(path, 'utf8')).toBe('before');
  expect((await kvent(['export', data, state, ...options])).exitCode).toBe(2);
});

it('kvent export replaces no directory', async () => {
  mkdirSync(folder.path('target'));
  expect(await kvent(['export', data, 'product', folder.path('target'), '--replace'])).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining('must be a plain file'),
  });
});
