import { readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { commands } from './commands/table.js';
import { plainCall } from './plain-call.js';
import { Output } from './output/output.js';
import { parseCall } from './program.js';
import { Folder, kvent, Stream } from './spec-support.js';

let folder: Folder;
const path = (name: string): string => folder.path(name);

beforeEach(async () => {
  folder = new Folder();
  await folder.import('tenant:acme', rows(10));
});
afterEach(() => folder[Symbol.dispose]());

function* rows(count: number) {
  for (let index = 0; index < count; index += 1) {
    const key = `k${String(index).padStart(4, '0')}`;
    yield {
      container: 'state:state',
      entity: 'a',
      key,
      row: { version: '7', value: { kind: 'json', text: '{"a":1}' } as const, updatedAt: 1 },
    };
  }
}

describe('a call that holds a password', () => {
  const address = 'postgres://u:s3cret-pw@127.0.0.1:1/db';

  it.each([
    ['a mistyped option with =', ['copy', `--form=${address}`, '--to', 'x']],
    ['a mistyped option', ['copy', '--form', address, '--to', 'x']],
    ['an option that there is not', ['restore', `--password=s3cret-pw`]],
    ['a mistyped command', [address]],
    ['a command of one letter more', ['copyy', '--from', address]],
    ['a needless argument', ['copy', address]],
    ['a missing option', ['copy', '--from', address]],
    ['double quotes', ['copy', '--from', 'data', '--to', `"${address}"`]],
    ['single quotes', ['copy', '--from', `'${address}'`, '--to', 'x']],
    ['a blank in front', ['copy', '--from', 'data', '--to', ` ${address}`]],
    ['a blank behind', ['copy', '--from', 'data', '--to', `${address} `]],
    ['no scheme', ['copy', '--from', 'data', '--to', 'u:s3cret-pw@127.0.0.1/db']],
    ['no scheme, and a long name', ['copy', '--from', 'data', '--to', 'user:s3cret-pw@127.0.0.1/db']],
    ['one slash', ['copy', '--from', 'data', '--to', 'postgres:/u:s3cret-pw@127.0.0.1/db']],
    ['another scheme', ['copy', '--from', 'data', '--to', 'mysql://u:s3cret-pw@127.0.0.1/db']],
    ['a port that is none', ['copy', '--from', 'data', '--to', 'postgres://u:s3cret-pw@127.0.0.1:port/db']],
    ['no server behind it', ['copy', '--from', 'data', '--to', address, '--wait', '0', '--verbose']],
    ['no server behind it, as JSON', ['copy', '--from', 'data', '--to', address, '--wait', '0', '--json']],
    [
      'a query',
      ['copy', '--from', 'data', '--to', 'postgres://127.0.0.1:1/db?password=s3cret-pw', '--verbose'],
    ],
    ['the settings of libpq', ['copy', '--from', 'data', '--to', 'host=127.0.0.1 password=s3cret-pw']],
    ['a variable', ['copy', '--from', 'data', '--to', 'PGPASSWORD=s3cret-pw']],
    ['percent-encoding', ['copy', '--from', 'data', '--to', 'postgres%3A%2F%2Fu%3As3cret-pw%40h']],
    ['a blank in the password', ['postgres://u:s3cret-pw', 'more-of-s3cret-pw@h/db']],
    ['an address as a file of a backup', ['backup', '--from', 'data', '--to', `"${address}"`]],
    ['an address as a backup', ['restore', '--from', address, '--to', 'x']],
    ['an address as a damaged directory', ['salvage', '--from', address, '--to', 'x']],
    ['a seconds option', ['copy', '--from', 'data', '--to', 'x', '--wait', address]],
    ['PGPASSWORD as a command', ['f1om-the-environment']],
  ])('prints none, makes no directory of that name, and fails: %s', async (_, args) => {
    const { exitCode, stdout, stderr } = await kvent(
      args.map((arg) => (['data', 'x'].includes(arg) ? path(arg) : arg)),
    );
    expect(stdout + stderr).not.toMatch(/s3cret|f1om/);
    expect(exitCode).toBeGreaterThan(0);
    expect(readdirSync(path('.')).filter((name) => name !== 'data' && name !== 'x')).toEqual([]);
    expect(readdirSync('.').filter((name) => name.includes('s3cret'))).toEqual([]);
  });
});

describe('what a call is given', () => {
  it('forges no line and moves no cursor', async () => {
    for (const args of [
      ['copy\nkvent: done'],
      ['copy', '--from', path('data'), '--to', path('x'), '--tenant', '\u001b[2Jkvent: done\u0007\u202e'],
      ['copy', '--from', path('no\nsuch\u009b31m'), '--to', path('x')],
      ['restore', '--from', path('no\n\u001b]0;title\u0007'), '--to', path('x'), '--verbose'],
    ]) {
      const { exitCode, stdout, stderr } = await kvent(args);
      const printed = stdout + stderr;
      expect(exitCode).toBeGreaterThan(0);
      expect(printed.replaceAll('\n', '')).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
      expect(printed.split('\n').filter((line) => line.startsWith('kvent: done'))).toEqual([]);
    }
  });
});

describe('a reader that leaves', () => {
  beforeEach(() => folder.import('tenant:acme', rows(3_000)));

  it('does not change the exit code of work that is done', async () => {
    expect(
      await kvent(['backup', '--from', path('data'), '--to', path('b.jsonl')], { out: true }),
    ).toMatchObject({ exitCode: 0 });
    expect(await kvent(['restore', '--from', path('b.jsonl'), '--to', path('restored')])).toMatchObject({
      exitCode: 0,
    });
  });

  it('ends a copy in order with 141: the locks are let go, and the target is marked as unfinished', async () => {
    const args = ['copy', '--from', path('data'), '--to', path('copy')];
    expect((await kvent(args, { out: true, err: true })).exitCode).toBe(141);
    for (const name of ['data', 'copy']) await folder.import('tenant:acme', [], name);
    expect((await kvent(args)).stderr).toContain('an unfinished copy of JSON file');
    expect((await kvent([...args, '--resume'])).exitCode).toBe(0);
  });

  it('of the help is no failure', async () => {
    expect(await kvent(['--help'], { out: true, err: true })).toMatchObject({ exitCode: 0 });
  });
});

/** What commander makes of a call; `undefined` if it refuses it or prints a help. */
async function parsedByCommander(args: readonly string[]): Promise<ReturnType<typeof plainCall>> {
  let call: ReturnType<typeof plainCall>;
  const output = new Output(new Stream(), new Stream(), (text) => text);
  await parseCall(args, async (command, values) => void (call = { command, values }), output);
  return call;
}

describe('a call that is read without commander', () => {
  const inExample = /'([^']*)'|(\S+)/g;
  const examples = commands.map(({ example }) =>
    Array.from(example.matchAll(inExample), ([, quoted, word]) => quoted ?? word ?? '').slice(1),
  );
  const calls = [
    ...examples,
    ['ls', 'data'],
    ['ls', 'data', 'help'],
    ['ls', '--limit', '7', 'data', '--shared', 'product', '--wait', '0.5'],
    ['get', 'data', '', 'k', '--schema', ''],
    ['put', 'data', 'product', 'k', '{}', '--if-match', '7', '--schema-version', '2', '--ttl', 'never'],
    ['stream', 'show', 'data', 'order', 'o-1', '--reverse', '--from', '3', '--json', '--verbose'],
  ];

  it.each(calls.map((args) => [args.join(' '), args] as const))(
    'has the same values: %s',
    async (_, args) => {
      const call = plainCall(commands, args);
      expect(call).toBeDefined();
      expect(call).toEqual(await parsedByCommander(args));
    },
  );

  it.each([
    ['no command', []],
    ['another command', ['lss', 'data']],
    ['half a command', ['stream', 'data']],
    ['a missing argument', ['get', 'data', 'product']],
    ['a needless argument', ['ls', 'data', 'product', 'k']],
    ['a missing option', ['copy', '--from', 'data']],
    ['a value that is missing', ['ls', 'data', '--limit']],
    ['a value that is wrong', ['ls', 'data', '--limit', '0']],
    ['options that exclude each other', ['ls', 'data', '--tenant', 'acme', '--shared']],
    ['an option that there is not', ['ls', 'data', '--limits', '1']],
  ])('is none that commander refuses: %s', async (_, args) => {
    expect(plainCall(commands, args)).toBeUndefined();
    expect(await parsedByCommander(args)).toBeUndefined();
  });

  it.each([
    ['the help', ['ls', 'data', '--help']],
    ['the version', ['ls', 'data', '--version']],
    ['an option with =', ['ls', 'data', '--limit=1']],
    ['an option twice', ['ls', 'data', '--limit', '1', '--limit', '2']],
    ['the end of the options', ['ls', '--', 'data']],
    ['a value with a dash', ['ls', 'data', '--tenant', '-a']],
    ['stdin', ['put', 'data', 'product', 'k', '-', '--write']],
  ])('is none in another form: %s', (_, args) => {
    expect(plainCall(commands, args)).toBeUndefined();
  });
});
