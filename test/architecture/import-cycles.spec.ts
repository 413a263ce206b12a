/** The sources of the libraries import each other without cycles, between files and folders. */
import { describe, expect, it } from '@jest/globals';
import { cyclesOf, fileGraph, folderGraph, type ImportGraph } from './import-cycles.js';
import { librarySources } from './source-files.js';

const storage = 'libs/key-value-storage/src';
const files = fileGraph(librarySources());

/**
 * Cycles that are still there. A cycle found must be a part of one of these, and each of these must
 * still have a cycle: take it out once it is broken.
 */
const known: readonly (readonly string[])[] = [
  ['nest', 'nest/health', 'nest/tenancy'].map((folder) => `${storage}/${folder}`),
];

describe('the sources of the libraries', () => {
  it.each([
    ['files', files],
    ['folders', folderGraph(files)],
  ])('import each other without cycles of %s', (_, graph) => {
    expect(cyclesOf(graph).filter((cycle) => !known.some((each) => isPart(cycle, each)))).toEqual([]);
  });

  it('have every cycle that is listed as known', () => {
    const cycles = [files, folderGraph(files)].flatMap(cyclesOf);
    expect(known.filter((each) => !cycles.some((cycle) => isPart(cycle, each)))).toEqual([]);
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

const isPart = (cycle: readonly string[], whole: readonly string[]): boolean =>
  cycle.every((node) => whole.includes(node));

const withImport = (graph: ImportGraph, from: string, to: string): ImportGraph =>
  new Map([...graph, [from, new Set([...(graph.get(from) ?? []), to])]]);
