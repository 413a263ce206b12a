/** The help of the command, and its messages about wrong arguments. */
import { cp, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { KventProcess, root } from './kvent.js';
import { acme, rawRow, Workspace } from './workspace.js';

let workspace: Workspace;

export function describeUsage(): void {
  describe('kvent', () => {
    beforeEach(async () => {
      workspace = await Workspace.create();
    });
    afterEach(() => workspace[Symbol.asyncDispose]());

    it('prints its commands, their options and its version on stdout', async () => {
      const help = await workspace.kvent('--help');
      expect(help).toMatchObject({ code: 0, stderr: '' });
      for (const word of ['copy', 'backup', 'restore', 'salvage', 'postgres://', 'Exit codes'])
        expect(help.stdout).toContain(word);
      const options = await workspace.kvent('copy', '--help');
      for (const word of [
        '--from <storage>',
        '--to <storage>',
        '--tenant',
        '--shared',
        '--resume',
        '--replace',
        '--schema',
        '--json',
      ])
        expect(options.stdout).toContain(word);
      const { version } = JSON.parse(await readFile(join(root, 'libs/cli/package.json'), 'utf8')) as {
        version: string;
      };
      expect(await workspace.kvent('--version')).toMatchObject({ code: 0, stdout: `${version}\n` });
    });

    it('reports wrong arguments and exits with 2', async () => {
      const cases = [
        [[], 'Usage: kvent'],
        [['move'], "unknown command 'move'"],
        [['copy', '--from', 'data'], "required option '--to <storage>' not specified"],
        [['copy', '--from', 'data', '--to', 'copy', '--force'], "unknown option '--force'"],
        [
          ['copy', '--from', 'data', '--to', 'copy', '--resume', '--replace'],
          "'--resume' cannot be used with option '--replace'",
        ],
        [
          ['copy', '--from', 'data', '--to', 'copy', '--tenant', 'a', '--shared'],
          "'--tenant <id>' cannot be used with option '--shared'",
        ],
        [
          ['copy', '--from', 'data', '--to', 'copy', '--wait', 'long'],
          'It must be a number of seconds, at least 0.',
        ],
        [
          ['copy', '--from', 'data', '--to', ''],
          'A storage must be a directory or postgres://user@host:port/database; got an empty text.',
        ],
        [['copy', '--from', 'mysql://root:secret@localhost/x', '--to', 'copy'], 'got "mysql:".'],
        [['copy', '--from', 'data', '--to', 'postgres://'], 'The address of a Postgres database must be'],
        [
          ['copy', '--from', 'data', '--to', 'copy', '--table', 'row'],
          '--table must not be used without Postgres.',
        ],
        [
          ['copy', '--from', 'data', '--to', './data'],
          'Source and target must not be the same directory; got data.',
        ],
        [['backup', '--from', 'data', '--to', 'nowhere/'], 'There is no directory nowhere/.'],
        [
          ['backup', '--from', 'data', '--to', 'b.jsonl', '--tenant', 'acne'],
          "JSON file data has no database 'tenant:acne'; it has 'tenant:acme'.",
        ],
      ] as const;
      await workspace.createStore('data', { [acme]: [rawRow('state:state', 'a', '1')] });
      const results = await Promise.all(cases.map(([args]) => workspace.kvent(...args)));
      for (const [index, { code, stdout, stderr }] of results.entries()) {
        const [args, message] = cases[index] as (typeof cases)[number];
        expect({ args, code, stdout }).toEqual({ args, code: 2, stdout: '' });
        expect(stderr).toContain(message);
        expect(stderr).not.toContain('secret');
        expect(stderr).not.toMatch(/ {4}at /);
      }
    });

    it('reports that it is not compiled', async () => {
      await mkdir(workspace.path('cli'));
      await cp(join(root, 'libs/cli/bin'), workspace.path('cli/bin'), { recursive: true });
      await cp(join(root, 'libs/cli/package.json'), workspace.path('cli/package.json'));
      expect(
        await new KventProcess(['--help'], workspace.folder, { script: workspace.path('cli/bin/kvent.cjs') })
          .exit,
      ).toMatchObject({
        code: 1,
        stderr: 'kvent: it is not compiled yet. In the root of the repository: npm run build\n',
      });
    });
  });
}
