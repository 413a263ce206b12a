/** Lines have 110 characters at most (the formatter), comments 100. */
import { expect, it } from '@jest/globals';
import { wideComments } from './line-width.js';
import { readSource, sourceFiles } from './source-files.js';

it('comments are wrapped at 100 characters', () => {
  expect(sourceFiles().flatMap((file) => wideComments(file, readSource(file)))).toEqual([]);
});

it('code is formatted at 110', () => {
  expect(JSON.parse(readSource('.oxfmtrc.json').replace(/^ *\/\/.*$/gm, ''))).toMatchObject({
    printWidth: 110,
  });
});

it('a planted comment is noticed when it is longer, unless it cannot be broken', () => {
  const word = 'w'.repeat(90);
  const wide = [`// a ${word} too long`, `/** a ${word} too long */`, `   * a ${word} too long`];
  const allowed = [
    `// a ${word} fits`,
    `const code = '${word}${word}';`,
    `// oxlint-disable-next-line some-rule -- ${word}`,
    `// see https://example.com/${word}`,
    ` * @type {Record<string, ${word}>}`,
    ' * ```ts',
    ` * const sample = ${word};`,
    ' * ```',
  ];
  expect(wideComments('planted.ts', [...allowed, ...wide].join('\n'))).toEqual(
    [9, 10, 11].map((line) => `planted.ts:${line}`),
  );
});
