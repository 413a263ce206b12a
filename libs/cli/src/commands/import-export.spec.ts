import { execFile, execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { defineState, StateMigration, type Key } from '@kvent/key-value-storage';
import { Output } from '../output/output.js';
import { run } from '../run.js';
import { Folder, kvent, kventJson, Logins, Slots, Stream, Titles } from '../spec-support.js';

const Products = defineState<unknown>('product');
let folder: Folder;
let data: string;

beforeEach(() => {
  folder = new Folder();
  data = folder.path('data');
});
afterEach(() => folder[Symbol.dispose]());

const store = async (items: readonly (readonly [Key, unknown])[]): Promise<void> =>
  await folder.store(async (storage) => {
    await storage.store(Products).setMany(items.map(([key, value]) => ({ key, value })));
  });

/** The keys and values of a directory. */
async function entries(name = 'data'): Promise<readonly (readonly [Key, unknown])[]> {
  const found: [Key, unknown][] = [];
  const read = async (storage: Parameters<Parameters<Folder['store']>[0]>[0]): Promise<void> => {
    for await (const { key, value } of storage.store(Products).list()) found.push([key, value]);
  };
  await folder.store(read, 'acme', name);
  return found;
}

function fileOf(content: string | Buffer): string {
  const file = folder.path('file');
  writeFileSync(file, content);
  return file;
}

const importing = (content: string | Buffer, ...options: readonly string[]) =>
  kvent(['import', data, 'product', fileOf(content), '--tenant', 'acme', '--write', ...options]);

const kventImport = async (
  state: string,
  content: string,
  ...options: readonly string[]
): Promise<unknown> => {
  const args = ['import', data, state, fileOf(content), '--tenant', 'acme', '--write', '--json', ...options];
  return JSON.parse((await kvent(args)).stdout);
};

/** What an import refuses, by line. */
async function refusals(content: string | Buffer, ...options: readonly string[]): Promise<unknown> {
  const { exitCode, stdout, stderr } = await importing(
    content,
    '--on-error',
    'continue',
    '--json',
    ...options,
  );
  expect(stderr).toBe('');
  const { loaded, failed, failures } = JSON.parse(stdout) as {
    readonly loaded: number;
    readonly failed: number;
    readonly failures: readonly { readonly line: number; readonly message: string }[];
  };
  expect([exitCode, failed]).toEqual([failed > 0 ? 1 : 0, failures.length]);
  return [loaded, ...failures.map(({ line, message }) => [line, message] as const)];
}

async function fromStdin<R>(content: string | Readable, work: () => Promise<R>): Promise<R> {
  const original = Object.getOwnPropertyDescriptor(process, 'stdin') as PropertyDescriptor;
  Object.defineProperty(process, 'stdin', {
    value: typeof content === 'string' ? Readable.from([Buffer.from(content)]) : content,
    configurable: true,
  });
  try {
    return await work();
  } finally {
    Object.defineProperty(process, 'stdin', original);
  }
}

describe('kvent export and import', () => {
  const values: readonly (readonly [Key, unknown])[] = [
    [
      ['user', 42n],
      [1, null],
    ],
    ['["user",42]', 'a text\u2028\u0000'],
    ['mug', { title: 'Müg "1"', at: new Date(0), count: 7n, none: undefined, $date: 'x' }],
  ];

  it('in JSON lines write what they have read, by a file or by stdin and stdout', async () => {
    await store(values);
    const file = folder.path('products.jsonl');
    expect(await kventJson('export', data, 'product', file)).toMatchObject({
      command: 'export',
      database: 'tenant:acme',
      entries: 3,
    });
    const { stdout, stderr } = await kvent(['export', data, 'product']);
    expect({ stdout, stderr }).toEqual({ stdout: readFileSync(file, 'utf8'), stderr: '' });
    const lines = stdout.trimEnd().split('\n');
    expect(JSON.parse(lines[2] ?? '')).toMatchObject(
      (({ command: _, storage: __, database: ___, state: ____, ...value }) => value)(
        await kventJson('get', data, 'product', 'mug'),
      ),
    );

    const copy = folder.path('copy');
    await kventJson('import', copy, 'product', file, '--tenant', 'acme', '--write');
    expect(await entries('copy')).toEqual(values);
    const piped = folder.path('piped');
    await fromStdin(stdout, () => kventJson('import', piped, 'product', '--tenant', 'acme', '--write'));
    expect(await entries('piped')).toEqual(values);
  });

  it('read a FIFO until its writer has closed it', async () => {
    const fifo = folder.path('fifo');
    execFileSync('mkfifo', [fifo]);
    const writer = execFile('cp', [fileOf('{"key":"mug","value":1}\n{"key":"pen","value":1}\n'), fifo]);
    try {
      const args = ['import', data, 'product', fifo, '--tenant', 'acme', '--write'];
      expect(await kventJson(...args)).toMatchObject({ loaded: 2 });
    } finally {
      writer.kill();
    }
    expect(await entries()).toEqual([
      ['mug', 1],
      ['pen', 1],
    ]);
  });

  it('refuse a FIFO and a directory as a module', async () => {
    const fifo = folder.path('fifo');
    execFileSync('mkfifo', [fifo]);
    for (const module of [fifo, folder.path('.')])
      expect(await importing('', '--module', module)).toMatchObject({
        exitCode: 2,
        stderr: expect.stringContaining('it is not a file'),
      });
  });

  it('keep the time when an entry expires, and leave out what has expired', async () => {
    await folder.store((storage) => storage.store(Products).set('tea', 1, { ttlMs: 3_600_000 }));
    const { expiresAt } = await kventJson('get', data, 'product', 'tea');
    const { stdout } = await kvent(['export', data, 'product']);
    expect(await refusals(`${stdout}{"key":"old","value":1,"expiresAt":"2020-01-01T00:00:00Z"}`)).toEqual([
      1,
    ]);
    const imported = await kventJson('get', data, 'product', 'tea');
    const shiftMs = Date.parse(imported['expiresAt'] as string) - Date.parse(expiresAt as string);
    expect(Math.abs(shiftMs)).toBeLessThan(60_000);
    expect((await kvent(['get', data, 'product', 'old'])).exitCode).toBe(1);
  });

  it('in CSV write what they have read: quotes, line feeds, commas and empty fields', async () => {
    const rows: readonly (readonly [Key, unknown])[] = [
      [['a', 1], { title: 'a "quoted", text', cents: 950, note: '' }],
      ['b', { title: 'two\r\nlines\n', cents: null, note: ' ' }],
      ['c', { title: '\ufeff', note: '"' }],
    ];
    await store(rows);
    const csv = ['--csv', '--key', 'sku', '--json-columns', 'cents'];
    const { stdout } = await kvent(['export', data, 'product', ...csv]);
    expect(stdout.split('\r\n').slice(0, 2)).toEqual([
      'sku,title,cents,note',
      '"[""a"",1]","a ""quoted"", text",950,',
    ]);
    const copy = folder.path('copy');
    const file = fileOf(`\ufeff${stdout}`);
    await kventJson('import', copy, 'product', file, '--tenant', 'acme', '--write', ...csv);
    expect(await entries('copy')).toEqual(rows);
  });

  it('take texts of CSV as texts, in any order of the columns', async () => {
    expect(await refusals('n,__proto__,key\n1,x,a\n\n"2","",b', '--csv')).toEqual([2]);
    const properties = (await entries()).map(([, value]) => Object.entries(value as object));
    expect(properties).toEqual([
      [
        ['n', '1'],
        ['__proto__', 'x'],
      ],
      [
        ['n', '2'],
        ['__proto__', ''],
      ],
    ]);
  });

  it('export only a prefix, and chosen columns', async () => {
    await store([
      ['a', 1],
      ['mug', { title: 'Mug', cents: 1 }],
      ['mug2', { cents: 2, more: 3 }],
    ]);
    const csv = ['export', data, 'product', '--prefix', 'mug', '--csv'];
    expect((await kvent([...csv, '--columns', 'cents'])).stdout).toBe('key,cents\r\nmug,1\r\nmug2,2\r\n');
    expect(await kvent(csv)).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('The property more of mug2'),
    });
    expect((await kvent(csv.toSpliced(3, 2))).stderr).toContain('The value at a is no object');
    expect((await kvent([...csv.toSpliced(4, 1, 'none'), '--columns', 'cents'])).stdout).toBe(
      'key,cents\r\n',
    );
  });

  it('leave no unfinished file, and overwrite one only with --replace', async () => {
    await store([['a', 1]]);
    const file = fileOf('before');
    const args = ['export', data, 'product', file];
    expect(await kvent(args)).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('exists') });
    expect((await kvent([...args, '--replace', '--csv'])).exitCode).toBe(1);
    expect(readFileSync(file, 'utf8')).toBe('before');
    expect((await kvent([...args, '--replace'])).stdout).toBe(
      `Exported 1 entry of product from 'tenant:acme' to ${file}.\n`,
    );
    expect(readdirSync(folder.path('.')).toSorted()).toEqual(['data', 'file']);
  });

  it('replace no file by an export without entries, unless --allow-empty says so', async () => {
    await store([['a', 1]]);
    const file = fileOf('before');
    const args = ['export', data, 'product', file, '--prefix', 'mistyped', '--replace'];
    expect(await kvent(args)).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('there is nothing to write'),
    });
    expect(readFileSync(file, 'utf8')).toBe('before');
    await kvent([...args, '--allow-empty']);
    expect(readFileSync(file, 'utf8')).toBe('');
  });
});

describe('kvent import', () => {
  it('changes nothing without --write, or with a wrong header', async () => {
    const { exitCode, stderr } = await kvent(['import', data, 'product', fileOf('')]);
    expect({ exitCode, stderr }).toEqual({
      exitCode: 2,
      stderr: 'kvent: kvent import changes the storage: repeat the same command with --write.\n',
    });
    for (const [header, words, ...more] of [
      ['sku,title', 'must have the column "key"; it has "sku", "title"'],
      ['key,title,title', 'different names'],
      ['key,', 'different names'],
      ['key,"a"b', 'misplaced quotes'],
      ['key,a', 'must have the column "b"', '--json-columns', 'b'],
    ] as const)
      expect(await importing(`${header}\n`, '--csv', ...more)).toMatchObject({
        exitCode: 2,
        stderr: expect.stringContaining(words),
      });
    expect(readdirSync(folder.path('.'))).toEqual(['file']);
  });

  it('names the lines that it refuses, and stores all others', async () => {
    const lines = [
      '{"key":"a","value":1}',
      '',
      'x',
      '{"key":"","value":1}',
      '{"key":["a",{"$bigint":"1"}],"value":2}',
      '{"key":"b","vale":1}',
      '{"key":"b","value":1,"expires":1}',
      '{"key":"b","value":1,"expiresAt":"soon"}',
      '{"key":"b","value":1,"schemaVersion":2}',
      '{"key":"b","value":{"$date":"x"}}',
      '{"key":{"b":1},"value":1}',
      '{"key":"c","value":3}',
      '{"key":"d","value":1,"expiresAt":"2999-01-01T00:00:00Z","ttlMs":0}',
      '{"key":"d","value":1,"ttlMs":1}',
    ];
    expect(await refusals(lines.join('\r\n'))).toEqual([
      3,
      [3, expect.stringMatching(/^It is not JSON: /)],
      [4, expect.stringMatching(/key/)],
      [6, expect.stringMatching(/^It must be \{"key":…,"value":…\}; got /)],
      [7, expect.stringMatching(/^Its properties must be key, .*; got "expires"\.$/)],
      [8, 'Its expiresAt must be a time or null; got "soon".'],
      [9, 'Its schemaVersion must be 1, that of --schema-version; got 2.'],
      [10, expect.stringMatching(/^It cannot be read: /)],
      [11, expect.stringMatching(/key/)],
      [
        13,
        expect.stringMatching(/^Its ttlMs must be a whole number of milliseconds from 1 to \d+; got 0\.$/),
      ],
      [14, 'Its ttlMs needs an expiresAt: without one it never expires.'],
    ]);
    expect((await entries()).map(([key]) => key)).toEqual([['a', 1n], 'a', 'c']);
  });

  it('counts lines inside quoted fields of CSV', async () => {
    const text = 'key,a\n1,"x\ny\n"\n2,x"y\n3\n4,"a"b\n5,{\n"6\n,2\n';
    expect(await refusals(text, '--csv', '--json-columns', 'a')).toEqual([
      0,
      [2, expect.stringContaining('Its field "a" is not JSON')],
      [5, expect.stringContaining('quotes are misplaced')],
      [6, 'It must have 2 fields, as the header has; got 1.'],
      [7, expect.stringContaining('quotes are misplaced')],
      [8, expect.stringContaining('Its field "a" is not JSON')],
      [9, 'It has a quote that is not closed.'],
    ]);
  });

  it('stops at the first line that it refuses; the entries before it are stored', async () => {
    const { exitCode, stdout } = await importing('{"key":"a","value":1}\n{\n{"key":"c","value":1}');
    expect({ exitCode, stdout }).toEqual({
      exitCode: 1,
      stdout: expect.stringMatching(
        /^Imported 1 entry into product of 'tenant:acme'; 1 record was refused\.\nline 2: It is not JSON: .*\nThe import ended there\./,
      ),
    });
    expect(await entries()).toEqual([['a', 1]]);
  });

  describe('with --failures', () => {
    const module = fileURLToPath(new URL('../spec-support.ts', import.meta.url));
    const linesIn = (path: string): readonly { readonly line: number; readonly message: string }[] =>
      readFileSync(path, 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as { readonly line: number; readonly message: string });

    it('writes every record that is refused to a new file, and returns the first hundred', async () => {
      await folder.store((held) => held.store(Titles).set('taken', { title: 'Taken' }));
      // the first one is refused by its commit, when others have been refused before
      const lines = [
        '{"key":"a","value":{"title":"Taken"}}',
        ...Array.from({ length: 3_000 }, (_, n) => `x${n}`),
      ];
      const file = folder.path('refused.jsonl');
      const result = await kventImport(
        'title',
        lines.join('\n'),
        ...['--module', module, '--on-error', 'continue', '--failures', file],
      );
      const refused = linesIn(file).toSorted((one, other) => one.line - other.line);
      expect(refused.map(({ line }) => line)).toEqual(Array.from({ length: 3_001 }, (_, n) => n + 1));
      expect(refused[0]?.message).toContain('Another title has the key "Taken"');
      expect(result).toMatchObject({ loaded: 0, failed: 3_001, failures: refused.slice(0, 100) });
      expect(statSync(file).mode & 0o777).toBe(0o600);
    });

    it('says where they are, without passwords', async () => {
      const file = folder.path('refused.jsonl');
      const content = '{"key":"a","value":1,"expiresAt":"PW"}\n{"key":"b","value":1}';
      const args = ['import', data, 'product', fileOf(content), '--tenant', 'acme', '--write'];
      const out = new Stream();
      const output = new Output(out, new Stream(), (text) => text.replaceAll('PW', '***'));
      expect((await run([...args, '--failures', file], output)).exitCode).toBe(1);
      expect(out.written).toContain(`All of them are in ${file}.\n`);
      expect(linesIn(file)).toEqual([
        { line: 1, message: 'Its expiresAt must be a time or null; got "***".' },
      ]);
    });

    it('leaves no file where nothing is refused, and overwrites none', async () => {
      const file = folder.path('refused.jsonl');
      expect((await importing('{"key":"a","value":1}', '--failures', file)).exitCode).toBe(0);
      expect(existsSync(file)).toBe(false);
      writeFileSync(file, 'before');
      expect(await importing('{"key":"b","value":1}', '--failures', file)).toMatchObject({
        exitCode: 2,
        stderr: `kvent: ${file} exists: --failures takes the name of a new file.\n`,
      });
      expect(
        await importing('{"key":"b","value":1}', '--failures', folder.path('none/refused')),
      ).toMatchObject({
        exitCode: 1,
        stderr: expect.stringContaining('cannot be written'),
      });
      expect(readFileSync(file, 'utf8')).toBe('before');
      expect((await entries()).map(([key]) => key)).toEqual(['a']);
    });
  });

  it('refuses what is hostile, by line, and goes on', async () => {
    const megabytes = 50;
    const lines = [
      Buffer.from('{"key":"a","value":1}\n'),
      Buffer.alloc(megabytes * 1_024 * 1_024, 0x20),
      Buffer.from(`\n{"key":"deep","value":${'['.repeat(200_000)}${']'.repeat(200_000)}}\n`),
      Buffer.from(`{"key":"large","value":"${'x'.repeat(1_000_000)}"}\n`),
      Buffer.from(`{"key":"${'k'.repeat(2_000)}","value":1}\n`),
      Buffer.from('{"key":"\u0000","value":1}\n'),
      Buffer.from('{"key":"\\u0000","value":"\\u0000"}\n'),
      Buffer.from([0x22, 0xff, 0x22, 0x0a]),
      Buffer.from('{"key":"z","value":{"__proto__":{"x":1}}}'),
    ];
    expect(await refusals(Buffer.concat(lines))).toEqual([
      3,
      [2, 'It has more than 4194304 bytes.'],
      [3, expect.stringMatching(/^It cannot be read: /)],
      [4, expect.stringContaining('over the limit valueBytesMax')],
      [5, expect.stringContaining('over the limit keyBytesMax')],
      [6, expect.stringMatching(/^It is not JSON: /)],
      [8, 'It is not UTF-8.'],
    ]);
    expect((await entries()).map(([key]) => key)).toEqual(['\u0000', 'a', 'z']);
  });

  describe('with the module of the application', () => {
    const module = fileURLToPath(new URL('../spec-support.ts', import.meta.url));
    const importTitles = (content: string, ...options: readonly string[]) =>
      kventImport('title', content, '--module', module, ...options);
    const titles = async (): Promise<readonly unknown[]> => {
      const found: unknown[] = [];
      await folder.store(async (storage) => {
        for await (const { key, value } of storage.store(Titles).index('byTitle').list())
          found.push(key, value.title);
        for (const { schemaVersion } of await new StateMigration(storage.store(Titles)).versions())
          found.push(schemaVersion);
      });
      return found;
    };
    const lines = [
      '{"key":"a","value":{"title":" A "}}',
      '{"key":"b","value":{"title":5}}',
      '{"key":"c","value":{"title":"C"},"schemaVersion":1}',
      '',
      '{"key":"d","value":{"title":"A"}}',
      '{"key":"e","value":{"title":"E"},"schemaVersion":3}',
    ];

    it('checks each value by its schema, keeps its indexes, and names the lines that it refuses', async () => {
      expect(await importTitles(lines.join('\n'), '--on-error', 'continue')).toMatchObject({
        loaded: 2,
        failed: 3,
        failures: [
          { line: 2, message: expect.stringContaining('title must be a text') },
          { line: 3, message: expect.stringContaining('schemaVersion must be 3') },
          { line: 5, message: expect.stringContaining('Another title has the key "A"') },
        ],
      });
      expect(await titles()).toEqual(['a', 'A', 'e', 'E', 3]);
    });

    it('ends at the first record that a schema refuses', async () => {
      expect(await importTitles(lines.join('\n'))).toMatchObject({ loaded: 1, failures: [{ line: 2 }] });
      expect(await titles()).toEqual(['a', 'A', 3]);
      const csv = 'key,title\nf,F\ng,"A"\n';
      expect(await importTitles(csv, '--csv')).toMatchObject({ loaded: 1, failures: [{ line: 3 }] });
    });

    it('keeps the time to live by which a read renews an entry', async () => {
      await folder.store((storage) => storage.store(Logins).set('a', 1, { ttlMs: 3_600_000 }));
      const line = JSON.parse((await kvent(['export', data, 'login'])).stdout) as object;
      expect(line).toMatchObject({ key: 'a', ttlMs: 3_600_000 });
      // as an hour later
      const expiresAt = new Date(Date.now() + 60_000).toISOString();
      await kventImport('login', JSON.stringify({ ...line, expiresAt }), '--module', module);
      expect(JSON.parse((await kvent(['export', data, 'login'])).stdout)).toMatchObject({ ttlMs: 3_600_000 });
    });

    it('ends at the first record that the storage refuses, also while stdin is idle', async () => {
      await folder.store((storage) => storage.store(Titles).set('a', { title: 'Taken' }));
      const idle = new Readable({ read: () => undefined });
      // those of several commits, so that a part is stored while the load waits for more
      for (let n = 1; n <= 2_000; n += 1)
        idle.push(`{"key":"k-${n}","value":{"title":"${n === 1_000 ? 'Taken' : n}"}}\n`);
      const args = ['import', data, 'title', '--module', module, '--tenant', 'acme', '--write', '--json'];
      const { exitCode, stdout } = await fromStdin(idle, () => kvent(args));
      expect([exitCode, JSON.parse(stdout)]).toMatchObject([1, { failures: [{ line: 1_000 }] }]);
      expect(idle.destroyed).toBe(true);
    });

    it('refuses a state that the module does not export', async () => {
      const args = ['import', data, 'cart', fileOf(''), '--write', '--module', module];
      expect(await kvent(args)).toMatchObject({
        exitCode: 2,
        stderr: expect.stringContaining("exports no state 'cart'"),
      });
    });
  });

  it('writes the given schema version, and makes the indexes of the state unready', async () => {
    const slotsOf = async (doctor: string): Promise<number> => {
      let count = 0;
      await folder.store(async (storage) => {
        count = await storage.store(Slots).index('byDoctor').count({ key: doctor });
      });
      return count;
    };
    await folder.store((storage) => storage.store(Slots).set('a', { doctor: 'x' }));
    expect(await slotsOf('x')).toBe(1);
    const file = fileOf('{"key":"b","value":{"doctor":"y"},"schemaVersion":2}');
    const args = ['import', data, 'slot', file, '--write'];
    expect((await kvent(args)).exitCode).toBe(1);
    await kventJson(...args, '--schema-version', '2');
    expect(await kventJson('get', data, 'slot', 'b')).toMatchObject({ schemaVersion: 2 });
    writeFileSync(file, '{"key":"b","value":{"doctor":"y"}}');
    await kventJson(...args);
    expect(await slotsOf('y')).toBe(1);
  });
});

it.each([
  [['export', 'data', 'product', '--key', 'sku'], 'need --csv'],
  [['export', 'data', 'product', '--json'], '--json needs a file'],
  [['export', 'data', 'product', '--csv', '--columns', 'a,a'], 'different names'],
  [['export', 'data', 'product', '--csv', '--columns', 'key'], 'a name of its own'],
  [['export', 'data', 'product', '--tenant', 'acne'], "has no database 'tenant:acne'"],
  [['import', 'data', 'product', 'none', '--write'], 'The file none cannot be read'],
  [['import', 'data', 'product', '.', '--write'], 'it is a directory'],
  [['import', 'data', 'product', '--write', '--on-error', 'skip'], "It must be 'stop' or 'continue'."],
  [['import', 'data', '', 'file', '--write'], '[INVALID_OPTION, '],
])('a wrong argument ends with 2, and says what is allowed: %j', async (args, words) => {
  await store([['a', { title: 'A' }]]);
  const given = args.map((arg) => (arg === 'data' ? data : arg === 'file' ? fileOf('') : arg));
  expect(await kvent(given)).toMatchObject({ exitCode: 2, stderr: expect.stringContaining(words) });
});
