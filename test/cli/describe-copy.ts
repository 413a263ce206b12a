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
  interruptMidway,
  rowsOfEveryKind,
  globex,
  leaseRow,
  lines,
  manyRows,
  withOpened,
  rawRow,
  Workspace,
} from './workspace.js';

let workspace: Workspace;

export function describeCopy(): void {
  describe('kvent copy', () => {
    beforeEach(async () => {
      workspace = await Workspace.create();
    });
    afterEach(() => workspace[Symbol.asyncDispose]());
    directories();
    refusals();
    interruptions();
  });
}

function directories(): void {
  it('copies every row of every database, in both directions, and prints the hashes', async () => {
    const rows = rowsOfEveryKind();
    await workspace.createStore('data', {
      [acme]: [...rows, leaseRow()],
      shared: [rawRow('state:state', 'tenant', 'acme')],
    });
    const { code, stdout, stderr } = await workspace.kvent('copy', '--from', './data', '--to', './copy');
    expect(code).toBe(0);
    // a line of progress at once, and one in each second, whatever the copy does then
    expect(stderr).toMatch(
      /^copying shared \(1 of 2\): 0 of 1 rows\n((copying|comparing) (shared|tenant:acme) \([12] of 2\): \d+ of \d+ rows?\n)*$/,
    );
    const [shared = '', tenant = '', skipped, summary = '', ...more] = lines(stdout);
    expect(shared).toMatch(/^shared +copied +1 +row +[0-9a-f]{64}$/);
    expect(tenant).toMatch(/^tenant:acme +copied +11 +rows +[0-9a-f]{64}$/);
    expect(skipped).toBe('1 lease of open sessions were not copied.');
    expect(summary).toMatch(
      /^\.\/data and \.\/copy hold the same 12 rows in 2 databases, compared one by one in \d+\.\d\d s: sha256 [0-9a-f]{64}$/,
    );
    expect(more).toEqual([]);
    expect(await workspace.rows('copy')).toEqual({
      [acme]: rows,
      shared: [rawRow('state:state', 'tenant', 'acme')],
    });

    const back = await workspace.run('copy', '--from', './copy', '--to', './back');
    expect(back).toMatchObject({
      command: 'copy',
      from: './copy',
      to: './back',
      rows: 12,
      sha256: summary.slice(-64),
    });
    expect(back.databases.map(({ sha256 }) => sha256)).toEqual([shared.slice(-64), tenant.slice(-64)]);
    expect(await workspace.rows('back')).toEqual(await workspace.rows('copy'));
  });

  it('copies only one tenant, or only the shared rows', async () => {
    const rows = [rawRow('state:state', 'a', '1')];
    await workspace.createStore('data', { [acme]: rows, [globex]: rows, shared: rows });
    expect(
      (await workspace.run('copy', '--from', 'data', '--to', 'copy', '--tenant', 'globex')).databases,
    ).toMatchObject([{ database: globex }]);
    expect(Object.keys(await workspace.rows('copy'))).toEqual([globex]);
    await workspace.run('copy', '--from', 'data', '--to', 'copy', '--shared');
    expect(Object.keys(await workspace.rows('copy'))).toEqual(['shared', globex]);
  });

  it('and a backup leave every byte of the source unchanged, including links, leftovers and the lock of a killed process', async () => {
    await workspace.createStore('data', { [acme]: [rawRow('state:state', 'a', '1')] });
    mkdirSync(workspace.path('victim'));
    writeFileSync(workspace.path('victim/diary.txt'), 'mine');
    for (const name of [
      '.dropped-0123456789abcdef-x',
      '.new-0123456789abcdef',
      '.kvent.json.0123456789abcdef.tmp',
    ])
      symlinkSync(workspace.path('victim'), workspace.path(`data/${name}`));
    writeFileSync(workspace.path('data/.lock.json'), 'of a process that ended before it wrote its id');
    const journal = workspace.path(`data/tenant.acme/journal-1.jsonl`);
    writeFileSync(journal, readFileSync(journal, 'utf8').trimEnd());
    const files = (): unknown =>
      ['data', 'victim'].flatMap((root) =>
        readdirSync(workspace.path(root), { recursive: true, encoding: 'utf8' })
          .sort()
          .map((name) => join(workspace.path(root), name))
          .map((path) => [path, lstatSync(path).isFile() ? readFileSync(path, 'utf8') : '']),
      );
    const before = files();
    expect(await workspace.run('copy', '--from', 'data', '--to', 'copy')).toMatchObject({ rows: 1 });
    expect(await workspace.run('backup', '--from', 'data', '--to', 'b.jsonl')).toMatchObject({ rows: 1 });
    expect(files()).toEqual(before);
    expect((statSync(workspace.path('b.jsonl')).mode & 0o777).toString(8)).toBe('600');
    expect((statSync(workspace.path('copy')).mode & 0o777).toString(8)).toBe('700');
  });

  it('reports that the storage is empty', async () => {
    await workspace.createStore('data', {});
    expect(await workspace.kvent('copy', '--from', 'data', '--to', 'copy')).toMatchObject({
      code: 0,
      stdout: 'data is empty: there was nothing to copy.\n',
    });
  });
}

function refusals(): void {
  const refusalOf = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await workspace.kvent('copy', ...args);
    expect({ code, stdout, lines: lines(stderr).length }).toEqual({ code: 1, stdout: '', lines: 1 });
    return stderr;
  };

  it('refuses a target that is not empty, in one line, and changes nothing; --replace drops its rows', async () => {
    await workspace.createStore('data', {
      [acme]: [rawRow('state:state', 'a', '1')],
      shared: [rawRow('state:state', 'a', '1')],
    });
    await workspace.createStore('copy', {
      [acme]: [rawRow('state:state', 'b', '1')],
      [globex]: [rawRow('state:state', 'b', '1')],
    });
    const before = await workspace.rows('copy');
    expect(await refusalOf('--from', 'data', '--to', 'copy')).toMatch(
      /^kvent copy: The target is not empty: 'tenant:acme' of JSON file copy holds 'state:state \/ b'\. .*--replace\). \[INVALID_OPTION, /,
    );
    expect(await workspace.rows('copy')).toEqual(before);
    await workspace.run('copy', '--from', 'data', '--to', 'copy', '--replace');
    expect(await workspace.rows('copy')).toEqual({
      ...(await workspace.rows('data')),
      [globex]: before[globex],
    });
  });

  it('prints errors as JSON with --json', async () => {
    await workspace.createStore('data', { [acme]: [rawRow('state:state', 'a', '1')] });
    const { code, stdout } = await workspace.kvent(
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

  it('refuses a directory that another process has open, names that process, and says what to do', async () => {
    await workspace.createStore('data', { [acme]: [rawRow('state:state', 'a', '1')] });
    await withOpened(new JsonFileProvider({ directory: workspace.path('data') }), async () => {
      const printed = await refusalOf('--from', 'data', '--to', 'copy', '--wait', '0');
      expect(printed).toContain(`process ${process.pid}`);
      expect(printed).toMatch(/\[STORAGE_LOCKED, .*\] Stop that process, or wait for it: --wait 60\.$/m);
    });
  });

  it('creates no store in place of a missing source', async () => {
    expect(await refusalOf('--from', 'dta', '--to', 'copy')).toContain('There is no store in');
    expect([existsSync(workspace.path('dta')), existsSync(workspace.path('copy'))]).toEqual([false, false]);
  });

  it('prints the stack trace with --verbose', async () => {
    const { stderr } = await workspace.kvent('copy', '--from', 'dta', '--to', 'copy', '--verbose');
    expect(lines(stderr).length).toBeGreaterThan(3);
    expect(stderr).toContain(' at ');
  });
}

function interruptions(): void {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)(
    'stops on %s, releases its locks, and can be resumed as its message says',
    async (signal, code) => {
      const { ended, rows } = await interruptMidway(async (count) => {
        await workspace.createStore('data', { [acme]: manyRows(count) });
        await using copy = workspace.start('copy', '--from', 'data', '--to', 'copy', '--replace');
        await copy.waitForStderr('copying tenant:acme');
        return await copy.kill(signal);
      });
      expect(ended).toMatchObject({ code, stdout: '' });
      expect(ended.stderr).toMatch(
        /Cancelling \(press again to end at once\) …\nkvent copy: .*\[ABORTED, [^\]]*\]\n$/,
      );
      expect(ended.stderr).toMatch(
        /was interrupted after \d+ rows: its caller aborted it\. .*kvent: --resume\)/,
      );
      expect(Object.keys(await workspace.rows('data'))).toEqual([acme]);
      expect((await workspace.rows('copy'))[acme]?.[0]?.container).toBe('copy:unfinished');

      expect((await workspace.kvent('copy', '--from', 'data', '--to', 'copy')).stderr).toMatch(
        /'tenant:acme' of JSON file copy is an unfinished copy of JSON file data, started at .*kvent: --resume\)/,
      );
      expect(await workspace.run('copy', '--from', 'data', '--to', 'copy', '--resume')).toMatchObject({
        rows,
      });
      expect(await workspace.rows('copy')).toEqual(await workspace.rows('data'));
    },
  );

  it('that was killed leaves a marker of an unfinished copy', async () => {
    const { rows: count } = await interruptMidway(async (rows) => {
      await workspace.createStore('data', {
        [acme]: manyRows(rows),
        shared: [rawRow('state:state', 'a', '1')],
      });
      await using copy = workspace.start('copy', '--from', 'data', '--to', 'copy', '--replace');
      const journal = workspace.path('copy/tenant.acme/journal-1.jsonl');
      await until(
        'some rows are copied',
        () => !copy.isRunning || (existsSync(journal) && statSync(journal).size > 1_000),
      );
      return await copy.kill('SIGKILL');
    });
    expect((await workspace.kvent('copy', '--from', 'data', '--to', 'copy')).stderr).toContain(
      'is an unfinished copy of JSON file data',
    );
    const { databases } = await workspace.run('copy', '--from', 'data', '--to', 'copy', '--resume');
    expect(databases.map(({ database, outcome, rows }) => [database, outcome, rows])).toEqual([
      ['shared', 'copied', 1],
      [acme, 'copied', count],
    ]);
    const again = await workspace.run('copy', '--from', 'data', '--to', 'copy', '--resume');
    expect(again.databases.map(({ outcome }) => outcome)).toEqual(['there already', 'there already']);
    expect(await workspace.rows('copy')).toEqual(await workspace.rows('data'));
  });
}
