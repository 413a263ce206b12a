/** Cycles of imports, between files and between folders. */
import { dirname } from 'node:path';
import { importsOf } from './source-files.js';

/** What each node imports. */
export type ImportGraph = ReadonlyMap<string, ReadonlySet<string>>;

/** The imports of these files from each other. */
export function fileGraph(files: readonly string[]): ImportGraph {
  const nodes = new Set(files);
  return new Map(
    files.map((file) => {
      const imported = importsOf(file).flatMap(({ target }) => ('file' in target ? [target.file] : []));
      return [file, new Set(imported.filter((target) => nodes.has(target) && target !== file))];
    }),
  );
}

/** The same between folders: A imports B if a file directly in A imports a file directly in B. */
export function folderGraph(files: ImportGraph): ImportGraph {
  const folders = new Map<string, Set<string>>();
  for (const [file, imported] of files) {
    const folder = dirname(file);
    const targets = folders.get(folder) ?? new Set<string>();
    folders.set(folder, targets);
    for (const target of imported) if (dirname(target) !== folder) targets.add(dirname(target));
  }
  return folders;
}

/**
 * The strongly connected components of two or more nodes (Tarjan's algorithm), each sorted. A graph
 * without cycles has none.
 */
export function cyclesOf(graph: ImportGraph): readonly (readonly string[])[] {
  const cycles: (readonly string[])[] = [];
  const index = new Map<string, number>();
  const stack: string[] = [];
  const visit = (node: string): number => {
    let low = index.size;
    index.set(node, low);
    stack.push(node);
    for (const next of graph.get(node) ?? []) {
      if (!index.has(next)) low = Math.min(low, visit(next));
      else if (stack.includes(next)) low = Math.min(low, index.get(next) ?? low);
    }
    if (low === index.get(node)) {
      const component = stack.splice(stack.indexOf(node));
      if (component.length > 1) cycles.push(component.sort());
    }
    return low;
  };
  for (const node of graph.keys()) if (!index.has(node)) visit(node);
  return cycles.sort();
}
