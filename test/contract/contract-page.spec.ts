/** The pages on the contract agree with the code. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { contractPage } from './contract-page.js';

const root = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

test('docs/reference/contract.md is printed from the clauses (to update it: KVENT_DOCS=write npm run jest -- test/contract/contract-page)', () => {
  const path = 'docs/reference/contract.md';
  if (process.env['KVENT_DOCS'] === 'write') writeFileSync(join(root, path), contractPage());
  expect(read(path)).toBe(contractPage());
});

describe('docs/guides/write-your-own-provider.md', () => {
  const guide = read('docs/guides/write-your-own-provider.md');
  const sources = ['test/contract/document-provider.ts', 'test/providers.ts'].map((path) => flat(read(path)));
  const snippets = Array.from(guide.matchAll(/```typescript\n([\s\S]*?)```/g), ([, code = '']) => code);

  test('quotes the code of the sample provider exactly', () => {
    expect(snippets.length).toBeGreaterThan(5);
    // `// …` marks omitted lines
    const parts = snippets.flatMap((code) => code.split(/^ *\/\/ …$/m)).map(flat);
    expect(parts.filter((part) => !sources.some((source) => source.includes(part)))).toEqual([]);
  });

  test('describes a provider of at most 300 lines', () => {
    expect(read('test/contract/document-provider.ts').split('\n').length).toBeLessThanOrEqual(301);
  });
});

/** Without indentation: a snippet may be indented less than the code. */
function flat(code: string): string {
  return code
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join('\n');
}
