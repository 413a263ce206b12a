/** The sources of the libraries import each other without cycles, between files and folders. */
import { describe, expect, it } from '@jest/globals';
import { cyclesOf, fileGraph, folderGraph, type ImportGraph } from './import-cycles.js';
import { librarySources } from './source-files.js';

const storage = 'libs/key-value-storage/src';
const files = fileGraph(librarySources());

describe('the sources of the libraries', () => {
  it.each([
    ['files', files],
    ['folders', folderGraph(files)],
  ])('import each other without cycles of %s', (_, graph) => {
    expect(cyclesOf(graph)).toEqual([]);
  });
});

describe('a planted import', () => {
  it('is noticed when it closes a cycle of files', () => {
    const [low, high] = [`${storage}/core/base/limits.ts`, `${storage}/core/store/typed-store.ts`];
    expect(cyclesOf(withImport(files, low, high)).flat()).toEqual(expect.arrayContaining([low, high]));
  });

  it('is noticed when it closes a cycle of folders, but none of files', () => {
    const graph = new Map([
      ['a/one.ts', new Set(['b/one.ts'])],
      ['b/one.ts', new Set<string>()],
      ['b/two.ts', new Set<string>()],
    ]);
    expect(cyclesOf(folderGraph(graph))).toEqual([]);
    const planted = withImport(graph, 'b/two.ts', 'a/one.ts');
    expect(cyclesOf(planted)).toEqual([]);
    expect(cyclesOf(folderGraph(planted))).toEqual([['a', 'b']]);
  });
});

const withImport = (graph: ImportGraph, from: string, to: string): ImportGraph =>
  new Map([...graph, [from, new Set([...(graph.get(from) ?? []), to])]]);
