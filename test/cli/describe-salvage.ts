/** `kvent salvage`. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { acme, feedPosition, globex, lines, rawRow, Workspace } from './workspace.js';

let workspace: Workspace;
const placed = rawRow('event:order', 'o-1', '1', { position: feedPosition(7) });

export function describeSalvage(): void {
  describe('kvent salvage', () => {
    beforeEach(async () => {
      workspace = await Workspace.create();
      await workspace.createStore('data', {
        [acme]: [rawRow('state:state', 'a', '1')],
        [globex]: [placed],
      });
    });
    afterEach(() => workspace[Symbol.asyncDispose]());

    it('copies what is readable of a damaged directory, and reports the rest; `copy` refers to it', async () => {
      const journal = workspace.path('data/tenant.acme/journal-1.jsonl');
      await writeFile(journal, (await readFile(journal, 'utf8')).replace('"a":1.0', '"a":2.0'));
      const refused = await workspace.kvent('copy', '--from', 'data', '--to', 'copy');
      expect({ code: refused.code, lines: lines(refused.stderr).length }).toEqual({ code: 1, lines: 1 });
      expect(refused.stderr).toMatch(
        /\[STORAGE_CORRUPT, .*kvent salvage --from data --to <a new directory>\.$/m,
      );

      const { code, stdout } = await workspace.kvent('salvage', '--from', 'data', '--to', 'rescued');
      expect(code).toBe(0);
      const [one, two, damaged, total] = lines(stdout);
      expect([one, two]).toEqual([
        'tenant:acme    0  rows  1 place damaged',
        'tenant:globex  1  row   nothing damaged',
      ]);
      expect(damaged).toMatch(/^ {2}\/.*data\/tenant\.acme\/journal-1\.jsonl:2: the line is damaged$/);
      expect(total).toMatch(
        /^rescued holds 1 row of data, copied in .* the rows at the places above are missing, perhaps a part of a batch\.$/,
      );
      expect(await workspace.rows('rescued')).toEqual({ [globex]: [placed] });
    });

    it('is refused without a store, with a target that is not empty, and for Postgres', async () => {
      await mkdir(workspace.path('empty'));
      expect(await workspace.kvent('salvage', '--from', 'empty', '--to', 'rescued')).toMatchObject({
        code: 2,
        stderr: 'kvent: There is no store in empty: no marker, journal or snapshot.\n',
      });
      expect(existsSync(workspace.path('rescued'))).toBe(false);
      const notEmpty = await workspace.kvent('salvage', '--from', 'data', '--to', 'data');
      expect({ code: notEmpty.code, stderr: notEmpty.stderr }).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('is not empty'),
      });
      const postgres = await workspace.kvent(
        'salvage',
        '--from',
        'postgres://u:secret@localhost/db',
        '--to',
        'rescued',
      );
      expect(postgres).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('Only directories of JsonFileProvider can be salvaged'),
      });
    });
  });
}
