/** Every link of every page has a target, and every command of a page exists. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { pages, root, type Page } from './pages.js';

const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>;
};

describe.each(pages.map((page) => [page.path, page] as const))('%s', (path, page) => {
  it('has links with existing targets', () => {
    expect(
      page.links
        .filter(({ target }) => !/^https?:/.test(target))
        .flatMap(({ target, line }) => fault(page, target, line)),
    ).toEqual([]);
  });

  it('has one title, and headings without skipped levels', () => {
    const levels = page.headings.map(({ level }) => level);
    expect(levels.filter((level) => level === 1)).toHaveLength(1);
    expect(
      page.headings
        .filter(({ level }, index) => index > 0 && level > (levels[index - 1] ?? 0) + 1)
        .map(({ text }) => text),
    ).toEqual([]);
  });

  it('names existing commands', () => {
    const commands = Array.from(
      page.lines.join('\n').matchAll(/npm run (?:--silent )?([a-z][\w:-]*)/g),
      ([, script = '']) => script,
    );
    expect(commands.filter((script) => !(script in scripts))).toEqual([]);
  });

  it('has code only in languages that a test checks', () => {
    // test/contract checks the fragments of that guide: they are parts of one file that passes the
    // contract.
    const checked = [
      'ts',
      'sh',
      'text',
      'json',
      ...(path === 'docs/guides/write-your-own-provider.md' ? ['typescript'] : []),
      // test/packaging compares it with an application of `nest new`
      ...(path === 'docs/guides/new-application.md' ? ['diff'] : []),
    ];
    expect(
      page.fences
        .filter(({ language }) => !checked.includes(language))
        .map(({ language, start }) => `line ${start}: ${language}`),
    ).toEqual([]);
  });

  it('has valid JSON', () => {
    for (const { language, lines } of page.fences)
      if (language === 'json') expect(() => JSON.parse(lines.join('\n')) as unknown).not.toThrow();
  });

  if (path.startsWith('libs/')) {
    it('has no links out of its package, because it is published alone', () => {
      expect(page.links.filter(({ target }) => target.startsWith('..'))).toEqual([]);
    });
  }
});

it('every page of docs can be reached from the README', () => {
  const reached = new Set<string>();
  const visit = (path: string): void => {
    if (reached.has(path)) return;
    reached.add(path);
    const page = pages.find((each) => each.path === path);
    for (const { target } of page?.links ?? []) {
      const [file = ''] = target.split('#');
      if (file !== '' && !/^https?:/.test(file)) visit(normalize(join(dirname(path), file)));
    }
  };
  visit('README.md');
  expect(
    pages.map(({ path }) => path).filter((path) => path.startsWith('docs/') && !reached.has(path)),
  ).toEqual([]);
});

it('the sample names an existing heading of the README', () => {
  const printed = readFileSync(join(root, 'apps/storefront/src/welcome/opening-lines.ts'), 'utf8');
  const [, heading = ''] = /README, "([^"]+)"/.exec(printed) ?? [];
  expect(pages.find(({ path }) => path === 'README.md')?.headings.map(({ text }) => text)).toContain(heading);
});

function fault(page: Page, target: string, line: number): readonly string[] {
  const [file = '', anchor] = target.split('#');
  const path = file === '' ? page.path : normalize(join(dirname(page.path), decodeURIComponent(file)));
  const at = `line ${line + 1}: ${target}`;
  if (path.startsWith('..') || !existsSync(join(root, path))) return [`${at} does not exist`];
  if (anchor === undefined) return [];
  const headings = pages.find((each) => each.path === path)?.headings;
  if (headings === undefined) return [`${at} has no headings`];
  return headings.some((heading) => heading.anchor === anchor) ? [] : [`${at}: the heading does not exist`];
}
