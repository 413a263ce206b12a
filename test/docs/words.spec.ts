/** The glossary explains each word once, and its banned words are not used. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { pageAt, pages, root, type Page } from './pages.js';

const glossary = pageAt('docs/glossary.md');
const bannedFrom = glossary.headings.find(({ text }) => text === 'Banned words')?.line ?? 0;

const rowsOf = (lines: readonly string[]): readonly (readonly string[])[] =>
  lines
    .filter((line) => line.startsWith('| ') && !/^\| (Word|Not) \|/.test(line))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
const entries = rowsOf(glossary.lines.slice(0, bannedFrom));
const bannedWords = rowsOf(glossary.lines.slice(bannedFrom)).flatMap(([words = '']) => words.split(', '));
const banned = new RegExp(`(?<![\\w-])(${bannedWords.join('|')})(?![\\w-])`, 'i');

/** Printed from the clauses. */
const generatedPage = 'docs/reference/contract.md';

/**
 * The lines of a page without names of tests and generated parts, whose words are in the sources.
 */
function ownLines({ path, lines }: Page): readonly string[] {
  let generated = false;
  return lines.slice(0, path === glossary.path ? bannedFrom : undefined).map((line) => {
    if (line.startsWith('<!-- generated: ')) generated = true;
    if (line === '<!-- end -->') generated = false;
    return generated || /^ {2}- .* › /.test(line) ? '' : line;
  });
}

describe('docs/glossary.md', () => {
  it('explains each word once, and links to its home', () => {
    const words = entries.map(([word]) => word);
    expect(words.length).toBeGreaterThan(50);
    expect(words.filter((word, index) => words.indexOf(word) !== index)).toEqual([]);
    expect(entries.filter(([, , home = '']) => !/\]\(/.test(home)).map(([word]) => word)).toEqual([]);
  });

  it('is in alphabetical order, section by section', () => {
    const sections = glossary.headings.filter(({ level, line }) => level === 2 && line < bannedFrom);
    for (const [index, { line }] of sections.entries()) {
      const end = sections[index + 1]?.line ?? bannedFrom;
      const words = rowsOf(glossary.lines.slice(line, end)).map(([word = '']) => word);
      expect(words).toEqual(words.toSorted((one, other) => one.localeCompare(other, 'en')));
    }
  });
});

describe('the banned words of the glossary', () => {
  const placesIn = (path: string, lines: readonly string[]): readonly string[] =>
    lines.flatMap((line, index) => {
      // the tables of renames name what is gone; 'nobody' in quotes is a user of the system
      const text = path === 'CHANGELOG.md' ? line.replace(/`[^`]*`/g, '') : line.replace(/'nobody'/g, '');
      const [word] = banned.exec(text) ?? [];
      return word === undefined ? [] : [`${path}:${index + 1}: ${word}`];
    });

  it('are found in a text that has one', () => {
    expect(banned.test(`One ${bannedWords[0]} here.`)).toBe(true);
    expect(banned.test(`One half-${bannedWords[0]}ly here.`)).toBe(false);
  });

  it('are not in the documentation', () => {
    const checked = pages.filter(({ path }) => path !== generatedPage);
    const places = checked.flatMap((page) => placesIn(page.path, ownLines(page)));
    expect(places).toEqual([]);
  });

  it('are not in the sources', () => {
    const checked = sources();
    expect(checked.length).toBeGreaterThan(100);
    const places = checked.flatMap((path) =>
      placesIn(path, readFileSync(join(root, path), 'utf8').split('\n')),
    );
    expect(places).toEqual([]);
  });
});

function sources(): readonly string[] {
  const inFolders = ['apps', 'bench', 'libs', 'test'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map(
      (name) => `${folder}/${name.replaceAll('\\', '/')}`,
    ),
  );
  return [...readdirSync(root), ...inFolders].filter(
    (path) => /\.(ts|mjs|cjs)$/.test(path) && !/(^|\/)(node_modules|dist)\//.test(path),
  );
}
