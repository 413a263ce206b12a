/** What `npm publish` would send, judged by the tools that users of other packages judge it with. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { packLibrary } from './pack-library.js';
import { ScratchApp } from './scratch-app.js';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..', '..');
const bin = (path: string): string => join(root, 'node_modules', path);

describe.each(['key-value-storage'])('@kvent/%s as published', (name) => {
  const folder = join(root, 'libs', name);
  let files: readonly string[];
  let tarball: string;

  beforeAll(async () => {
    ({ files, tarball } = await packLibrary(name));
  });

  it('holds the build, the manifest, its README and its licence, and nothing else', () => {
    expect(files.filter((file) => !/^(dist\/.*\.(js|d\.ts)|package\.json|README\.md|LICENSE)$/.test(file))).toEqual([]);
    expect(files).toEqual(expect.arrayContaining(['dist/index.js', 'dist/index.d.ts', 'package.json', 'LICENSE', 'README.md']));
    expect(files.filter((file) => /\.spec\.(js|d\.ts)$/.test(file))).toEqual([]);
  });

  it('holds nothing whose source is gone', () => {
    const built = files.filter((file) => file.startsWith('dist/'));
    const sourceOf = (file: string): string => join(folder, 'src', file.slice('dist/'.length).replace(/(\.d\.ts|\.js)$/, '.ts'));
    expect(built.filter((file) => !existsSync(sourceOf(file)))).toEqual([]);
  });

  it('satisfies publint', async () => {
    const { stdout } = await run(process.execPath, [bin('publint/src/cli.js'), '--strict', tarball], { cwd: folder });
    expect(stdout).toContain('All good!');
  });

  it('resolves with types from ESM, by every resolver that knows ESM', async () => {
    const args = [bin('@arethetypeswrong/cli/dist/index.js'), tarball, '--profile', 'esm-only', '--no-color', '--no-emoji'];
    const { stdout } = await run(process.execPath, args); // a problem is an exit code, which rejects
    expect(stdout).toContain('node16 (from ESM): OK (ESM)');
  }, 30_000);

  it('the core loads, by import and by require, where no Nest is installed', async () => {
    await using app = await ScratchApp.install([tarball], 'leave out');
    const load =
      "import { defineState, encodeKey } from '@kvent/key-value-storage/core'; process.stdout.write(encodeKey(defineState('tag').name));";
    expect((await app.run('.', ['--input-type=module', '--eval', load])).stdout).toBe('tag');
    const require = "const { encodeKey } = require('@kvent/key-value-storage/core'); process.stdout.write(encodeKey('tag'));";
    expect((await app.run('.', ['--disable-warning=ExperimentalWarning', '--input-type=commonjs', '--eval', require])).stdout).toBe('tag');
    await expect(app.run('.', ['--input-type=module', '--eval', "await import('@kvent/key-value-storage')"])).rejects.toThrow('@nestjs/');
  });
});
