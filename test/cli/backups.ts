/** `kvent backup` and `kvent restore`. */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { acme, endInTheMiddle, everyKind, globex, lease, lines, many, raw, Workplace } from './workplace.js';

let place: Workplace;

export function backups(): void {
  describe('kvent backup and kvent restore', () => {
    beforeEach(async () => {
      place = await Workplace.create();
    });
    afterEach(() => place[Symbol.asyncDispose]());
    thereAndBack();
    files();
    describe('together', refusals);
  });
}

function thereAndBack(): void {
  it.each(['backup.jsonl', 'backup.jsonl.gz'])(
    'bring every row back, by %s, with the hash that a copy has',
    async (name) => {
      const rows = everyKind();
      await place.store('data', {
        [acme]: [...rows, lease()],
        [globex]: [raw('state:state', 'a', '1')],
        shared: [raw('state:state', 'a', '1')],
      });
      const { code, stdout } = await place.kvent('backup', '--from', 'data', '--to', name);
      const told = lines(stdout);
      expect({ code, lines: told.length }).toEqual({ code: 0, lines: 4 });
      expect(told[3]).toMatch(
        new RegExp(
          `^${name} holds 13 rows in 3 databases, [\\d,]+ bytes, written and read back in \\S+ s: sha256 [0-9a-f]{64}$`,
        ),
      );
      const restored = await place.told('restore', '--from', name, '--to', 'restored');
      expect(restored).toMatchObject({
        command: 'restore',
        from: name,
        rows: 13,
        sha256: told[3]?.slice(-64),
      });
      expect(await place.rows('restored')).toEqual({ ...(await place.rows('data')), [acme]: rows });
      expect((await place.told('copy', '--from', 'data', '--to', 'copy')).sha256).toBe(restored.sha256);
    },
  );

  it('bring one tenant back out of many, or what is shared', async () => {
    const rows = [raw('state:state', 'a', '1')];
    await place.store('data', { [acme]: rows, [globex]: rows, 'tenant:hooli': rows, shared: rows });
    await place.told('backup', '--from', 'data', '--to', 'all.jsonl');
    for (const tenant of ['hooli', 'acme'])
      await place.told('restore', '--from', 'all.jsonl', '--to', 'some', '--tenant', tenant);
    expect(Object.keys(await place.rows('some'))).toEqual([acme, 'tenant:hooli']);
    await place.told('backup', '--from', 'data', '--to', 'one.jsonl', '--shared');
    await place.told('restore', '--from', 'one.jsonl', '--to', 'shared-only');
    expect(Object.keys(await place.rows('shared-only'))).toEqual(['shared']);
  });
}

function files(): void {
  it('write lines of JSON that people and other tools can read, in order', async () => {
    await place.store('data', {
      [acme]: [raw('state:state', 'product', 'mug'), raw('state:state', 'product', 'tea')],
    });
    await place.told('backup', '--from', 'data', '--to', 'b.jsonl');
    const text = await readFile(place.path('b.jsonl'), 'utf8');
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

  it('call a backup in a directory after the time, and write over none that is there', async () => {
    await place.store('data', { [acme]: [raw('state:state', 'a', '1')] });
    await mkdir(place.path('backups'));
    await place.told('backup', '--from', 'data', '--to', 'backups');
    const [name = ''] = await readdir(place.path('backups'));
    expect(name).toMatch(/^kvent-\d{8}T\d{6}Z\.jsonl\.gz$/);
    const before = await readFile(place.path(`backups/${name}`));
    const { code, stderr } = await place.kvent('backup', '--from', 'data', '--to', `backups/${name}`);
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: `kvent: backups/${name} exists. To overwrite it: --replace.\n`,
    });
    expect(await readFile(place.path(`backups/${name}`))).toEqual(before);
    await place.told('backup', '--from', 'data', '--to', `backups/${name}`, '--replace', '--tenant', 'acme');
    expect(await readdir(place.path('backups'))).toEqual([name]);
  });

  it('leave nothing of a backup that was broken off, and what was there before', async () => {
    await mkdir(place.path('backups'));
    const { ended } = await endInTheMiddle(async (rows) => {
      await place.store('data', { [acme]: many(rows) });
      await writeFile(place.path('backups/b.jsonl.gz'), 'what was there before');
      await using backup = place.start('backup', '--from', 'data', '--to', 'backups/b.jsonl.gz', '--replace');
      await backup.says('writing tenant:acme');
      return await backup.kill('SIGINT');
    });
    expect(ended).toMatchObject({ code: 130, stdout: '' });
    expect(ended.stderr).toContain('kvent backup: The backup was cancelled. Its file was removed');
    expect(await readdir(place.path('backups'))).toEqual(['b.jsonl.gz']);
    expect(await readFile(place.path('backups/b.jsonl.gz'), 'utf8')).toBe('what was there before');
  });
}

function refusals(): void {
  beforeEach(async () => {
    await place.store('data', { [acme]: everyKind() });
    await place.told('backup', '--from', 'data', '--to', 'b.jsonl.gz');
  });
  const refused = async (file: string, to = 'restored'): Promise<string> => {
    const { code, stdout, stderr } = await place.kvent('restore', '--from', file, '--to', to);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    return lines(stderr).at(-1) ?? '';
  };

  it('refuse a backup that is damaged, cut off, no backup or not there, before the target is even opened', async () => {
    const text = gunzipSync(await readFile(place.path('b.jsonl.gz'))).toString();
    await writeFile(place.path('edited.jsonl'), text.replace('"a":1.0', '"a":2.0'));
    expect(await refused('edited.jsonl')).toMatch(
      /^kvent restore: The backup is damaged at edited\.jsonl:14: the rows of "tenant:acme", from line 3 to 13, are not the rows that were written\. \[STORAGE_CORRUPT, /,
    );
    await writeFile(place.path('short.jsonl.gz'), gzipSync(text.slice(0, text.lastIndexOf('{'))));
    expect(await refused('short.jsonl.gz')).toContain('short.jsonl.gz:15: it ends before its last line');
    await writeFile(place.path('cut.jsonl.gz'), (await readFile(place.path('b.jsonl.gz'))).subarray(0, -9));
    expect(await refused('cut.jsonl.gz')).toContain('it cannot be decompressed');
    expect(await refused('data/.kvent.json')).toContain(
      'data/.kvent.json is not a backup of kvent. [INVALID_OPTION',
    );
    expect(await refused('nothing.jsonl')).toMatch(
      /nothing\.jsonl cannot be read: ENOENT.*\[STORAGE_UNAVAILABLE/,
    );
    expect(await readdir(place.folder)).not.toContain('restored');
  });

  it('refuse a target that is not empty, and replace or resume it if told to', async () => {
    const said = await refused('b.jsonl.gz', 'data');
    expect(said).toContain("The target is not empty: 'tenant:acme' of JSON file data holds");
    const told = await place.told('restore', '--from', 'b.jsonl.gz', '--to', 'data', '--resume');
    expect(told.databases.map(({ outcome }) => outcome)).toEqual(['there already']);
    expect(await place.told('restore', '--from', 'b.jsonl.gz', '--to', 'data', '--replace')).toMatchObject({
      rows: 11,
    });
  });
}
