/** `kvent backup` and `kvent restore`. */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  acme,
  interruptMidway,
  rowsOfEveryKind,
  globex,
  leaseRow,
  lines,
  manyRows,
  rawRow,
  Workspace,
} from './workspace.js';

let workspace: Workspace;

export function describeBackup(): void {
  describe('kvent backup and kvent restore', () => {
    beforeEach(async () => {
      workspace = await Workspace.create();
    });
    afterEach(() => workspace[Symbol.asyncDispose]());
    roundTrips();
    files();
    describe('together', refusals);
  });
}

function roundTrips(): void {
  it.each(['backup.jsonl', 'backup.jsonl.gz'])(
    'restore every row from %s, with the same hash as a copy',
    async (name) => {
      const rows = rowsOfEveryKind();
      await workspace.createStore('data', {
        [acme]: [...rows, leaseRow()],
        [globex]: [rawRow('state:state', 'a', '1')],
        shared: [rawRow('state:state', 'a', '1')],
      });
      const { code, stdout } = await workspace.kvent('backup', '--from', 'data', '--to', name);
      const printed = lines(stdout);
      expect({ code, lines: printed.length }).toEqual({ code: 0, lines: 4 });
      expect(printed[3]).toMatch(
        new RegExp(
          `^${name} holds 13 rows in 3 databases, [\\d,]+ bytes, written and read back in \\S+ s: sha256 [0-9a-f]{64}$`,
        ),
      );
      const restored = await workspace.run('restore', '--from', name, '--to', 'restored');
      expect(restored).toMatchObject({
        command: 'restore',
        from: name,
        rows: 13,
        sha256: printed[3]?.slice(-64),
      });
      expect(await workspace.rows('restored')).toEqual({ ...(await workspace.rows('data')), [acme]: rows });
      expect((await workspace.run('copy', '--from', 'data', '--to', 'copy')).sha256).toBe(restored.sha256);
    },
  );

  it('restore one tenant of many, or only the shared rows', async () => {
    const rows = [rawRow('state:state', 'a', '1')];
    await workspace.createStore('data', { [acme]: rows, [globex]: rows, 'tenant:hooli': rows, shared: rows });
    await workspace.run('backup', '--from', 'data', '--to', 'all.jsonl');
    for (const tenant of ['hooli', 'acme'])
      await workspace.run('restore', '--from', 'all.jsonl', '--to', 'some', '--tenant', tenant);
    expect(Object.keys(await workspace.rows('some'))).toEqual([acme, 'tenant:hooli']);
    await workspace.run('backup', '--from', 'data', '--to', 'one.jsonl', '--shared');
    await workspace.run('restore', '--from', 'one.jsonl', '--to', 'shared-only');
    expect(Object.keys(await workspace.rows('shared-only'))).toEqual(['shared']);
  });
}

function files(): void {
  it('write readable lines of JSON, in order', async () => {
    await workspace.createStore('data', {
      [acme]: [rawRow('state:state', 'product', 'mug'), rawRow('state:state', 'product', 'tea')],
    });
    await workspace.run('backup', '--from', 'data', '--to', 'b.jsonl');
    const text = await readFile(workspace.path('b.jsonl'), 'utf8');
    const [header, begin, mug, tea, end, last = ''] = lines(text);
    expect(JSON.parse(header ?? '')).toMatchObject({ kvent: 'backup', format: 1, from: 'JSON file data' });
    expect([begin, mug]).toEqual([
      '{"database":"tenant:acme"}',
      '{"container":"state:state","entity":"product","key":"mug","version":"4611686018427387905","updatedAt":1763694000123,"json":{"a":1.0}}',
    ]);
    expect(tea).toContain('"key":"tea"');
    expect(end).toMatch(/^\{"end":"tenant:acme","rows":2,"sha256":"[0-9a-f]{64}"\}$/);
    const before = createHash('sha256')
      .update(text.slice(0, text.indexOf(last)))
      .digest('hex');
    expect(JSON.parse(last)).toMatchObject({ kvent: 'end', databases: 1, rows: 2, before });
  });

  it('name a backup in a directory after the time, and never overwrite one without --replace', async () => {
    await workspace.createStore('data', { [acme]: [rawRow('state:state', 'a', '1')] });
    await mkdir(workspace.path('backups'));
    await workspace.run('backup', '--from', 'data', '--to', 'backups');
    const [name = ''] = await readdir(workspace.path('backups'));
    expect(name).toMatch(/^kvent-\d{8}T\d{6}Z\.jsonl\.gz$/);
    const before = await readFile(workspace.path(`backups/${name}`));
    const { code, stderr } = await workspace.kvent('backup', '--from', 'data', '--to', `backups/${name}`);
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: `kvent: backups/${name} exists. To overwrite it: --replace.\n`,
    });
    expect(await readFile(workspace.path(`backups/${name}`))).toEqual(before);
    await workspace.run(
      'backup',
      '--from',
      'data',
      '--to',
      `backups/${name}`,
      '--replace',
      '--tenant',
      'acme',
    );
    expect(await readdir(workspace.path('backups'))).toEqual([name]);
  });

  it('replace no file by a backup of an empty storage, unless --allow-empty says so', async () => {
    await workspace.createStore('data', { [acme]: [rawRow('state:state', 'a', '1')] });
    await workspace.createStore('empty', {});
    await workspace.run('backup', '--from', 'data', '--to', 'b.jsonl');
    const before = await readFile(workspace.path('b.jsonl'));
    const args = ['backup', '--from', 'empty', '--to', 'b.jsonl', '--replace'];
    const { code, stderr } = await workspace.kvent(...args);
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr:
        'kvent: b.jsonl exists, and was not replaced: there is nothing to write. To replace it all the same: --allow-empty.\n',
    });
    expect(await readFile(workspace.path('b.jsonl'))).toEqual(before);
    expect((await readdir(workspace.path('.'))).filter((name) => name.includes('.tmp'))).toEqual([]);
    await workspace.run(...args, '--allow-empty');
    expect(await readFile(workspace.path('b.jsonl'), 'utf8')).toContain('"rows":0');
    await workspace.run('backup', '--from', 'empty', '--to', 'new.jsonl', '--replace');
  });

  it('leave no file of an interrupted backup, and keep the former file', async () => {
    await mkdir(workspace.path('backups'));
    const { ended } = await interruptMidway(async (rows) => {
      await workspace.createStore('data', { [acme]: manyRows(rows) });
      await writeFile(workspace.path('backups/b.jsonl.gz'), 'the former backup');
      await using backup = workspace.start(
        'backup',
        '--from',
        'data',
        '--to',
        'backups/b.jsonl.gz',
        '--replace',
      );
      await backup.waitForStderr('writing tenant:acme');
      return await backup.kill('SIGINT');
    });
    expect(ended).toMatchObject({ code: 130, stdout: '' });
    expect(ended.stderr).toContain('kvent backup: The backup was cancelled. Its file was removed');
    expect(await readdir(workspace.path('backups'))).toEqual(['b.jsonl.gz']);
    expect(await readFile(workspace.path('backups/b.jsonl.gz'), 'utf8')).toBe('the former backup');
  });
}

function refusals(): void {
  beforeEach(async () => {
    await workspace.createStore('data', { [acme]: rowsOfEveryKind() });
    await workspace.run('backup', '--from', 'data', '--to', 'b.jsonl.gz');
  });
  const refused = async (file: string, to = 'restored'): Promise<string> => {
    const { code, stdout, stderr } = await workspace.kvent('restore', '--from', file, '--to', to);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    return lines(stderr).at(-1) ?? '';
  };

  it('refuse a backup that is damaged, cut off, missing or no backup, before the target is opened', async () => {
    const text = gunzipSync(await readFile(workspace.path('b.jsonl.gz'))).toString();
    await writeFile(workspace.path('edited.jsonl'), text.replace('"a":1.0', '"a":2.0'));
    expect(await refused('edited.jsonl')).toMatch(
      /^kvent restore: The backup is damaged at edited\.jsonl:14: the rows of "tenant:acme", from line 3 to 13, are not the rows that were written\. \[STORAGE_CORRUPT, /,
    );
    await writeFile(workspace.path('short.jsonl.gz'), gzipSync(text.slice(0, text.lastIndexOf('{'))));
    expect(await refused('short.jsonl.gz')).toContain('short.jsonl.gz:15: it ends before its last line');
    await writeFile(
      workspace.path('cut.jsonl.gz'),
      (await readFile(workspace.path('b.jsonl.gz'))).subarray(0, -9),
    );
    expect(await refused('cut.jsonl.gz')).toContain('it cannot be decompressed');
    expect(await refused('data/.kvent.json')).toContain(
      'data/.kvent.json is not a backup of kvent. [INVALID_OPTION',
    );
    expect(await refused('nothing.jsonl')).toMatch(
      /nothing\.jsonl cannot be read: ENOENT.*\[STORAGE_UNAVAILABLE/,
    );
    expect(await readdir(workspace.folder)).not.toContain('restored');
  });

  it('refuse a target that is not empty, unless it is replaced or resumed', async () => {
    expect(await refused('b.jsonl.gz', 'data')).toContain(
      "The target is not empty: 'tenant:acme' of JSON file data holds",
    );
    const report = await workspace.run('restore', '--from', 'b.jsonl.gz', '--to', 'data', '--resume');
    expect(report.databases.map(({ outcome }) => outcome)).toEqual(['there already']);
    expect(await workspace.run('restore', '--from', 'b.jsonl.gz', '--to', 'data', '--replace')).toMatchObject(
      {
        rows: 11,
      },
    );
  });
}
