import { execFileSync } from 'node:child_process';
import { expect, it } from '@jest/globals';
import { Output } from '../output/output.js';
import { passwordHider } from '../output/secrets.js';
import { run } from '../run.js';
import { kvent, Stream } from '../spec-support.js';
import { commands } from './table.js';

/** What bash offers for the last of these words. */
async function offered(...words: readonly string[]): Promise<readonly string[]> {
  const { stdout } = await kvent(['completion', 'bash']);
  const script = `${stdout}\nCOMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); _kvent; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync('bash', ['-c', script, 'bash', ...words], { encoding: 'utf8' })
    .trimEnd()
    .split('\n');
}

it('offers commands, their second words and their options in bash', async () => {
  expect(await offered('kvent', 's')).toEqual(['salvage', 'stream', 'stats']);
  expect(await offered('kvent', 'stream', '')).toEqual(['ls', 'show']);
  expect(await offered('kvent', 'stream', 'show', './data', '--f')).toEqual(['--from']);
  expect(await offered('kvent', 'put', './data', '--if')).toEqual(['--if-match', '--if-absent']);
  expect(await offered('kvent', 'copy', '--from', '/etc/host')).toContain('/etc/hosts');
});

it('offers every command with its summary in zsh', async () => {
  const { stdout } = await kvent(['completion', 'zsh']);
  expect(stdout).toMatch(/^#compdef kvent\n/);
  for (const { name, summary, options } of commands) {
    expect(stdout).toContain(`${name.split(' ').at(-1) ?? ''}:${summary.replaceAll("'", "'\\''")}`);
    for (const { flags } of options) expect(stdout).toContain(`'${flags.split(' ')[0] ?? ''}:`);
  }
});

it('names the shells that it knows', async () => {
  expect(await kvent(['completion', 'fish'])).toMatchObject({
    exitCode: 2,
    stderr: 'kvent: The shell must be bash or zsh; got fish.\n',
  });
});

it('is the same script where PGPASSWORD is a word of it', async () => {
  const [plain, out] = [new Stream(), new Stream()];
  for (const [stream, env] of [
    [plain, {}],
    [out, { PGPASSWORD: 'kvent' }],
  ] as const)
    await run(['completion', 'bash'], new Output(stream, new Stream(), passwordHider([], env)));
  expect(out.written).toContain('_kvent()');
  expect(out.written).toBe(plain.written);
});
