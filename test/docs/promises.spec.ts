/**
 * Each sentence of `docs/promises.md` names the clauses and tests that hold it, and each of them
 * exists.
 */
import { describe, expect, it } from '@jest/globals';
import { clauses, storeClauses } from '@kvent/key-value-storage/testing';
import { heldSentences, exists, nameIn } from './held-sentences.js';
import { pageAt } from './pages.js';

const page = pageAt('docs/promises.md');
const firstLaw = page.headings.find(({ level }) => level === 2)?.line ?? 0;
const promises = heldSentences(page, firstLaw);

describe('docs/promises.md', () => {
  it('has a heading for each law, with promises or the statement that there are none', () => {
    const laws = page.headings.filter(({ text }) => /^\d+\. /.test(text)).map(({ text }) => text);
    expect(laws.map((law) => Number.parseInt(law, 10))).toEqual(
      Array.from({ length: 15 }, (_, index) => index + 1),
    );
    const lawsWithoutPromises = laws.filter((law) => promises.every((promise) => promise.heading !== law));
    expect(lawsWithoutPromises).toEqual(
      laws.filter((law) => below(law).some((line) => line.startsWith('Nothing is promised yet'))),
    );
  });

  it('contains only promises', () => {
    const otherLines = page.lines
      .slice(firstLaw)
      .filter((line) => !/^(## .*|- .*|  - .*|Nothing is promised yet.*|)$/.test(line));
    expect(otherLines).toEqual([]);
  });

  it('has at least one test or clause for each sentence', () => {
    expect(promises.length).toBeGreaterThan(40);
    expect(promises.filter(({ heldBy }) => heldBy.length === 0).map(({ sentence }) => sentence)).toEqual([]);
  });

  it('names existing clauses and tests', () => {
    expect(promises.flatMap(({ heldBy }) => heldBy).filter((holder) => !exists(holder))).toEqual([]);
  });

  it('names clauses below their own law', () => {
    const laws = new Map([...clauses, ...storeClauses].map(({ name, law }) => [name, law]));
    const misplaced = promises.flatMap(({ heading: law, heldBy }) =>
      /^\d/.test(law) &&
      heldBy.some((holder) => holder.startsWith('contract › ')) &&
      heldBy.every((holder) => laws.get(nameIn(holder)) !== Number.parseInt(law, 10))
        ? heldBy
        : [],
    );
    expect(misplaced).toEqual([]);
  });
});

function below(heading: string): readonly string[] {
  const start = page.lines.indexOf(`## ${heading}`) + 1;
  const end = page.lines.findIndex((line, index) => index >= start && line.startsWith('## '));
  return page.lines.slice(start, end === -1 ? undefined : end);
}
