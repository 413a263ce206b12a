/** `kvent copy` between directories. */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { JsonFileProvider } from '@kvent/key-value-storage';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { until } from '../postgres/until.js';
import {
  acme,
  endInTheMiddle,
  everyKind,
  globex,
  lease,
  lines,
  many,
  opened,
  raw,
  Workplace,
} from './workplace.js';

let place: Workplace;

export function copying(): void {
  describe('kvent copy', () => {
    beforeEach(async () => {
      place = await Workplace.create();
    });
    afterEach(() => place[Symbol.asyncDispose]());
    directories();
    refusals();
    interruptions();
  });
}

function directories(): void {
  it('copies every row of every database, there and back, and tells the hashes of both sides', async () => {
    const rows = everyKind();
    await place.store('data', { [acme]: [...rows, lease()], shared: [raw('state:state', 'tenant', 'acme')] });
    const { code, stdout, stderr } = await place.kvent('copy', '--from', './data', '--to', './copy');
    expect({ code, stderr }).toEqual({ code: 0, stderr: 'copying shared (1 of 2): 0 of 1 rows\n' });
    const [shared = '', tenant = '', stayed, both = '', ...more] = lines(stdout);
    expect(shared).toMatch(/^shared +copied +1 +row +[0-9a-f]{64}$/);
    expect(tenant).toMatch(/^tenant:acme +copied +11 +rows +[0-9a-f]{64}$/);
    expect(stayed).toBe('1 lease of open sessions were not copied.');
    expect(both).toMatch(
      /^\.\/data and \.\/copy hold the same 12 rows in 2 databases, compared one by one in \d+\.\d\d s: sha256 [0-9a-f]{64}$/,
    );
    expect(more).toEqual([]);
    expect(await place.rows('copy')).toEqual({
      [acme]: rows,
      shared: [raw('state:state', 'tenant', 'acme')],
    });

    const back = await place.told('copy', '--from', './copy', '--to', './back');
    expect(back).toMatchObject({
      command: 'copy',
      from: './copy',
      to: './back',
      rows: 12,
      sha256: both.slice(-64),
    });
    expect(back.databases.map(({ sha256 }) => sha256)).toEqual([shared.slice(-64), tenant.slice(-64)]);
    expect(await place.rows('back')).toEqual(await place.rows('copy'));
  });

  it('copies one tenant, or what is shared, and nothing else', async () => {
    const rows = [raw('state:state', 'a', '1')];
    await place.store('data', { [acme]: rows, [globex]: rows, shared: rows });
    expect(
      (await place.told('copy', '--from', 'data', '--to', 'copy', '--tenant', 'globex')).databases,
    ).toMatchObject([{ database: globex }]);
    expect(Object.keys(await place.rows('copy'))).toEqual([globex]);
    await place.told('copy', '--from', 'data', '--to', 'copy', '--shared');
    expect(Object.keys(await place.rows('copy'))).toEqual(['shared', globex]);
  });

  it('leaves its source as it was, byte by byte, and so does a backup: links, leftovers and the lock of a dead owner too', async () => {
    await place.store('data', { [acme]: [raw('state:state', 'a', '1')] });
    mkdirSync(place.path('victim'));
    writeFileSync(place.path('victim/diary.txt'), 'mine');
    for (const name of [
      '.dropped-0123456789abcdef-x',
      '.new-0123456789abcdef',
      '.kvent.json.0123456789abcdef.tmp',
    ])
      symlinkSync(place.path('victim'), place.path(`data/${name}`));
    writeFileSync(place.path('data/.lock.json'), 'of a process that ended before it had said who it is');
    const journal = place.path(`data/tenant.acme/journal-1.jsonl`);
    writeFileSync(journal, readFileSync(journal, 'utf8').trimEnd());
    const files = (): unknown =>
      ['data', 'victim'].flatMap((root) =>
        readdirSync(place.path(root), { recursive: true, encoding: 'utf8' })
          .sort()
          .map((name) => join(place.path(root), name))
          .map((path) => [path, lstatSync(path).isFile() ? readFileSync(path, 'utf8') : '']),
      );
    const before = files();
    expect(await place.told('copy', '--from', 'data', '--to', 'copy')).toMatchObject({ rows: 1 });
    expect(await place.told('backup', '--from', 'data', '--to', 'b.jsonl')).toMatchObject({ rows: 1 });
    expect(files()).toEqual(before);
    expect((statSync(place.path('b.jsonl')).mode & 0o777).toString(8)).toBe('600');
    expect((statSync(place.path('copy')).mode & 0o777).toString(8)).toBe('700');
  });

  it('tells of an empty storage that it is empty', async () => {
    await place.store('data', {});
    expect(await place.kvent('copy', '--from', 'data', '--to', 'copy')).toMatchObject({
      code: 0,
      stdout: 'data is empty: there was nothing to copy.\n',
    });
  });
}

function refusals(): void {
  const line = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await place.kvent('copy', ...args);
    expect({ code, stdout, lines: lines(stderr).length }).toEqual({ code: 1, stdout: '', lines: 1 });
    return stderr;
  };

  it('refuses a target that holds something, in one line, and changes nothing; --replace drops it', async () => {
    await place.store('data', {
      [acme]: [raw('state:state', 'a', '1')],
      shared: [raw('state:state', 'a', '1')],
    });
    await place.store('copy', {
      [acme]: [raw('state:state', 'b', '1')],
      [globex]: [raw('state:state', 'b', '1')],
    });
    const before = await place.rows('copy');
    expect(await line('--from', 'data', '--to', 'copy')).toMatch(
      /^kvent copy: The target is not empty: 'tenant:acme' of JSON file copy holds 'state:state \/ b'\. .*--replace\). \[INVALID_OPTION, /,
    );
    expect(await place.rows('copy')).toEqual(before);
    await place.told('copy', '--from', 'data', '--to', 'copy', '--replace');
    expect(await place.rows('copy')).toEqual({ ...(await place.rows('data')), [globex]: before[globex] });
  });

  it('tells errors as JSON too, if asked', async () => {
    await place.store('data', { [acme]: [raw('state:state', 'a', '1')] });
    const { code, stdout } = await place.kvent(
      'copy',
      '--from',
      'data',
      '--to',
      'copy',
      '--tenant',
      'acne',
      '--json',
    );
    const { error } = JSON.parse(stdout) as { error: { code: string; message: string; effect: string } };
    expect({ code, error }).toMatchObject({ code: 1, error: { code: 'INVALID_OPTION', effect: 'none' } });
    expect(error.message).toContain("JSON file data has no database 'tenant:acne'; it has 'tenant:acme'.");
  });

  it('refuses a directory that another process has open, names it, and says what to do', async () => {
    await place.store('data', { [acme]: [raw('state:state', 'a', '1')] });
    await opened(new JsonFileProvider({ directory: place.path('data') }), async () => {
      const said = await line('--from', 'data', '--to', 'copy', '--wait', '0');
      expect(said).toContain(`process ${process.pid}`);
      expect(said).toMatch(/\[STORAGE_LOCKED, .*\] Stop that process, or wait for it: --wait 60\.$/m);
    });
  });

  it('makes no store of a source that is not there', async () => {
    expect(await line('--from', 'dta', '--to', 'copy')).toContain('There is no store in');
    expect([existsSync(place.path('dta')), existsSync(place.path('copy'))]).toEqual([false, false]);
  });

  it('tells the whole story with --verbose', async () => {
    const { stderr } = await place.kvent('copy', '--from', 'dta', '--to', 'copy', '--verbose');
    expect(lines(stderr).length).toBeGreaterThan(3);
    expect(stderr).toContain(' at ');
  });
}

function interruptions(): void {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)(
    'breaks off on %s, lets go of its locks, says how to begin again, and does',
    async (signal, code) => {
      const { ended, rows } = await endInTheMiddle(async (count) => {
        await place.store('data', { [acme]: many(count) });
        await using copy = place.start('copy', '--from', 'data', '--to', 'copy', '--replace');
        await copy.says('copying tenant:acme');
        return await copy.kill(signal);
      });
      expect(ended).toMatchObject({ code, stdout: '' });
      expect(ended.stderr).toMatch(
        /Cancelling \(press again to end at once\) …\nkvent copy: .*\[ABORTED, [^\]]*\]\n$/,
      );
      expect(ended.stderr).toMatch(
        /was interrupted after \d+ rows: its caller aborted it\. .*kvent: --resume\)/,
      );
      expect(Object.keys(await place.rows('data'))).toEqual([acme]);
      expect((await place.rows('copy'))[acme]?.[0]?.container).toBe('copy:unfinished');

      expect((await place.kvent('copy', '--from', 'data', '--to', 'copy')).stderr).toMatch(
        /'tenant:acme' of JSON file copy is an unfinished copy of JSON file data, started at .*kvent: --resume\)/,
      );
      expect(await place.told('copy', '--from', 'data', '--to', 'copy', '--resume')).toMatchObject({ rows });
      expect(await place.rows('copy')).toEqual(await place.rows('data'));
    },
  );

  it('that was killed leaves what says that it is unfinished', async () => {
    const { rows: count } = await endInTheMiddle(async (rows) => {
      await place.store('data', { [acme]: many(rows), shared: [raw('state:state', 'a', '1')] });
      await using copy = place.start('copy', '--from', 'data', '--to', 'copy', '--replace');
      const journal = place.path('copy/tenant.acme/journal-1.jsonl');
      await until(
        'some rows are copied',
        () => !copy.isRunning || (existsSync(journal) && statSync(journal).size > 1_000),
      );
      return await copy.kill('SIGKILL');
    });
    expect((await place.kvent('copy', '--from', 'data', '--to', 'copy')).stderr).toContain(
      'is an unfinished copy of JSON file data',
    );
    const { databases } = await place.told('copy', '--from', 'data', '--to', 'copy', '--resume');
    expect(databases.map(({ database, outcome, rows }) => [database, outcome, rows])).toEqual([
      ['shared', 'copied', 1],
      [acme, 'copied', count],
    ]);
    const again = await place.told('copy', '--from', 'data', '--to', 'copy', '--resume');
    expect(again.databases.map(({ outcome }) => outcome)).toEqual(['there already', 'there already']);
    expect(await place.rows('copy')).toEqual(await place.rows('data'));
  });
}
