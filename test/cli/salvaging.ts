/** `kvent salvage`. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { acme, globex, lines, raw, Workplace } from './workplace.js';

let place: Workplace;

export function salvaging(): void {
  describe('kvent salvage', () => {
    beforeEach(async () => {
      place = await Workplace.create();
      await place.store('data', {
        [acme]: [raw('state:state', 'a', '1')],
        [globex]: [raw('state:state', 'a', '1')],
      });
    });
    afterEach(() => place[Symbol.asyncDispose]());

    it('is what a copy advises where the directory is damaged; it copies what is readable, and says what is not', async () => {
      const journal = place.path('data/tenant.acme/journal-1.jsonl');
      await writeFile(journal, (await readFile(journal, 'utf8')).replace('"a":1.0', '"a":2.0'));
      const refused = await place.kvent('copy', '--from', 'data', '--to', 'copy');
      expect({ code: refused.code, lines: lines(refused.stderr).length }).toEqual({ code: 1, lines: 1 });
      expect(refused.stderr).toMatch(
        /\[STORAGE_CORRUPT, .*kvent salvage --from data --to <a new directory>\.$/m,
      );

      const { code, stdout } = await place.kvent('salvage', '--from', 'data', '--to', 'rescued');
      expect(code).toBe(0);
      const [one, two, where, total] = lines(stdout);
      expect([one, two]).toEqual([
        'tenant:acme    0  rows  1 place damaged',
        'tenant:globex  1  row   nothing damaged',
      ]);
      expect(where).toMatch(/^ {2}\/.*data\/tenant\.acme\/journal-1\.jsonl:2: the line is damaged$/);
      expect(total).toMatch(
        /^rescued holds 1 row of data, copied in .* the rows at the places above are missing, perhaps a part of a batch\.$/,
      );
      expect(await place.rows('rescued')).toEqual({ [globex]: [raw('state:state', 'a', '1')] });
    });

    it('is refused where there is no store, where the target is not empty, and for Postgres', async () => {
      await mkdir(place.path('empty'));
      expect(await place.kvent('salvage', '--from', 'empty', '--to', 'rescued')).toMatchObject({
        code: 2,
        stderr: 'kvent: There is no store in empty: no marker, journal or snapshot.\n',
      });
      expect(existsSync(place.path('rescued'))).toBe(false);
      const taken = await place.kvent('salvage', '--from', 'data', '--to', 'data');
      expect({ code: taken.code, stderr: taken.stderr }).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('is not empty'),
      });
      const postgres = await place.kvent(
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
