/** What a file exports, another file uses: the rest is either dead or an internal of its file. */
import { expect, it } from '@jest/globals';
import { doors, isSpec, readSource, sourceFiles } from './source-files.js';
import { unusedExports } from './unused-exports.js';

it('each export of the libraries and the apps is used by another file', () => {
  const users = sourceFiles();
  const files = users.filter(
    (file) => /^(libs|apps)\/[^/]+\/src\//.test(file) && !isSpec(file) && !doors.includes(file),
  );
  expect(unusedExports(files, users)).toEqual([]);
});

const file = 'test/architecture/source-files.ts';
const user = 'test/architecture/unused-exports.ts';
const spec = 'test/architecture/unused-exports.spec.ts';
const planted = `${file}: planted`;

it.each([
  ['nothing uses it', {}, [planted]],
  ['only its own file uses it', { [file]: 'planted();' }, [planted]],
  ['only a spec uses it', { [spec]: `import { planted } from './source-files.js';` }, [planted]],
  [
    'a type of the same name is used',
    { [user]: `import { type Planted } from './source-files.js';` },
    [planted],
  ],
  [
    'a spec tests what its own file uses (none)',
    { [file]: 'planted();', [spec]: `import { planted } from './source-files.js';` },
    [],
  ],
  ['another file imports it (none)', { [user]: `import { planted as other } from './source-files.js';` }, []],
  ['a door exports it (none)', { [user]: `export { planted } from './source-files.js';` }, []],
  ['another file loads the whole (none)', { [user]: `void import('./source-files.js');` }, []],
])('a planted export is noticed when %s', (_, added: Readonly<Record<string, string>>, unused) => {
  const read = (path: string): string =>
    `${readSource(path)}\n${path === file ? 'export function planted() {}' : ''}\n${added[path] ?? ''}`;
  expect(unusedExports([file], [file, user, spec], read)).toEqual(expect.arrayContaining(unused));
  expect(unusedExports([file], [file, user, spec], read).includes(planted)).toBe(unused.length > 0);
});
