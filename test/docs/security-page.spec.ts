/**
 * Each sentence of `docs/guides/security.md` names the clauses and tests that hold it, and each of
 * them exists.
 */
import { describe, expect, it } from '@jest/globals';
import { heldSentences, isThere } from './held-sentences.js';
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

  it('names clauses and tests that exist', () => {
    expect(sentences.flatMap(({ heldBy }) => heldBy).filter((holder) => !isThere(holder))).toEqual([]);
  });

  it('says nothing outside those sentences, but for an introduction, links and code', () => {
    const [first = 0] = page.headings.filter(({ level }) => level === 2).map(({ line }) => line);
    const inCode = new Set(page.fences.flatMap(({ start, lines }) => lines.map((_, index) => start + index)));
    const loose = page.lines
      .map((line, index) => ({ line, index }))
      .filter(
        ({ line, index }) =>
          index >= first &&
          !inCode.has(index) &&
          !/^(## .*|- .*|  - .*|```.*|<!--.*|-->|See .*|)$/.test(line),
      );
    expect(loose.map(({ line }) => line)).toEqual([]);
  });
});
