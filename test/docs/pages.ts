/**
 * The pages of this repository for the tests of `test/docs`: headings, links and fenced blocks,
 * each with its line.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const root = join(import.meta.dirname, '..', '..');

export interface Fence {
  /** The first word after the three ticks: 'ts', 'sh', 'text' … */
  readonly language: string;
  /** The words after it. */
  readonly words: readonly string[];
  readonly lines: readonly string[];
  /** The index of its first line in the page, from 0. */
  readonly start: number;
  /** Inside an HTML comment: it runs, but readers do not see it. */
  readonly hidden: boolean;
}
export interface Heading {
  readonly level: number;
  readonly text: string;
  readonly anchor: string;
  readonly line: number;
}
export interface Link {
  readonly target: string;
  readonly line: number;
}
export interface Page {
  /** From the root: `docs/guides/http.md`. */
  readonly path: string;
  readonly lines: readonly string[];
  readonly fences: readonly Fence[];
  readonly headings: readonly Heading[];
  readonly links: readonly Link[];
}

/** Every page for readers. */
export const pages: readonly Page[] = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...markdownBelow('docs'),
  ...readdirSync(join(root, 'libs')).map((library) => `libs/${library}/README.md`),
  ...readdirSync(join(root, 'apps')).map((app) => `apps/${app}/README.md`),
].map(readPage);

export function pageAt(path: string): Page {
  const page = pages.find((each) => each.path === path);
  if (page === undefined) throw new Error(`Unknown page ${path}.`);
  return page;
}

function markdownBelow(folder: string): readonly string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
    .sort();
}

function readPage(path: string): Page {
  const lines = readFileSync(join(root, path), 'utf8').split('\n');
  const fences: Fence[] = [];
  const prose: string[] = [];
  let open: (Omit<Fence, 'lines'> & { readonly ticks: string }) | undefined;
  let hidden = false;
  for (const [index, line] of lines.entries()) {
    const [, ticks, info = ''] = /^\s*(`{3,})(.*)$/.exec(line) ?? [];
    if (open === undefined) {
      if (line.includes('<!--')) hidden = true;
      if (line.includes('-->')) hidden = false;
    }
    prose.push(open === undefined && ticks === undefined && !hidden ? line : '');
    if (open !== undefined && ticks === open.ticks && info.trim() === '') {
      fences.push({ ...open, lines: lines.slice(open.start, index) });
      open = undefined;
    } else if (open === undefined && ticks !== undefined) {
      const [language = '', ...words] = info.trim().split(/\s+/);
      open = { language, words, start: index + 1, hidden, ticks };
    }
  }
  if (open !== undefined) throw new Error(`${path}:${open.start} has no end.`);
  return { path, lines, fences, headings: headingsOf(prose), links: prose.flatMap(linksOf) };
}

function headingsOf(prose: readonly string[]): readonly Heading[] {
  const taken = new Map<string, number>();
  return prose.flatMap((line, index) => {
    const [, marks = '', text] = /^(#{1,6}) +(.*?)\s*$/.exec(line) ?? [];
    if (text === undefined) return [];
    const slug = slugOf(text);
    const count = taken.get(slug) ?? 0;
    taken.set(slug, count + 1);
    return [{ level: marks.length, text, anchor: count === 0 ? slug : `${slug}-${count}`, line: index }];
  });
}

/**
 * The anchor of a heading, as code hosts build it: lower case, letters, digits, `_` and `-` only,
 * blanks as `-`.
 */
function slugOf(heading: string): string {
  return heading
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}_\- ]/gu, '')
    .replaceAll(' ', '-');
}

function linksOf(line: string, index: number): readonly Link[] {
  const text = line.replace(/`[^`]*`/g, (code) => ' '.repeat(code.length));
  return Array.from(text.matchAll(/\]\(([^)\s]+)\)/g), ([, target = '']) => ({ target, line: index }));
}
