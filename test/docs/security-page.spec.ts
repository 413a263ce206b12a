/**
 * Each sentence of `docs/guides/security.md` names the clauses and tests that hold it, and each of
 * them exists.
 */
import { describe, expect, it } from '@jest/globals';
import { heldSentences, exists } from './held-sentences.js';
import { pageAt } from './pages.js';

const page = pageAt('docs/guides/security.md');
/** These sections have no tests. */
const untested = ['Your tasks', 'Not promised'];

describe('docs/guides/security.md', () => {
  const sentences = heldSentences(page, 0).filter(({ heading }) => !untested.includes(heading));

  it('has at least one test or clause for each sentence', () => {
    expect(sentences.length).toBeGreaterThan(30);
    expect(sentences.filter(({ heldBy }) => heldBy.length === 0).map(({ sentence }) => sentence)).toEqual([]);
  });

  it('names existing clauses and tests', () => {
    expect(sentences.flatMap(({ heldBy }) => heldBy).filter((holder) => !exists(holder))).toEqual([]);
  });

  it('contains only such sentences, an introduction, links and code', () => {
    const [first = 0] = page.headings.filter(({ level }) => level === 2).map(({ line }) => line);
    const inCode = new Set(page.fences.flatMap(({ start, lines }) => lines.map((_, index) => start + index)));
    const otherLines = page.lines
      .map((line, index) => ({ line, index }))
      .filter(
        ({ line, index }) =>
          index >= first &&
          !inCode.has(index) &&
          !/^(## .*|- .*|  - .*|```.*|<!--.*|-->|See .*|)$/.test(line),
      );
    expect(otherLines.map(({ line }) => line)).toEqual([]);
  });
});
