/**
 * Each sentence of `docs/promises.md` names the clauses and tests that hold it, and each of them is
 * there.
 */
import { describe, expect, it } from '@jest/globals';
import { clauses, storeClauses } from '@kvent/key-value-storage/testing';
import { heldSentences, isThere, nameIn } from './held-sentences.js';
import { pageAt } from './pages.js';

const page = pageAt('docs/promises.md');
const firstLaw = page.headings.find(({ level }) => level === 2)?.line ?? 0;
const promises = heldSentences(page, firstLaw);

describe('docs/promises.md', () => {
  it('has a heading for each law, and promises something under each, or says that it does not', () => {
    const laws = page.headings.filter(({ text }) => /^\d+\. /.test(text)).map(({ text }) => text);
    expect(laws.map((law) => Number.parseInt(law, 10))).toEqual(
      Array.from({ length: 14 }, (_, index) => index + 1),
    );
    const silent = laws.filter((law) => promises.every((promise) => promise.heading !== law));
    expect(silent).toEqual(
      laws.filter((law) => below(law).some((line) => line.startsWith('Nothing is promised yet'))),
    );
  });

  it('says nothing that is not a promise', () => {
    const loose = page.lines
      .slice(firstLaw)
      .filter((line) => !/^(## .*|- .*|  - .*|Nothing is promised yet.*|)$/.test(line));
    expect(loose).toEqual([]);
  });

  it('has at least one test or clause for each sentence', () => {
    expect(promises.length).toBeGreaterThan(40);
    expect(promises.filter(({ heldBy }) => heldBy.length === 0).map(({ sentence }) => sentence)).toEqual([]);
  });

  it('names clauses of the contract and tests that are there', () => {
    expect(promises.flatMap(({ heldBy }) => heldBy).filter((holder) => !isThere(holder))).toEqual([]);
  });

  it('names clauses under their own law', () => {
    const laws = new Map([...clauses, ...storeClauses].map(({ name, law }) => [name, law]));
    const elsewhere = promises.flatMap(({ heading: law, heldBy }) =>
      /^\d/.test(law) &&
      heldBy.some((holder) => holder.startsWith('contract › ')) &&
      heldBy.every((holder) => laws.get(nameIn(holder)) !== Number.parseInt(law, 10))
        ? heldBy
        : [],
    );
    expect(elsewhere).toEqual([]);
  });
});

function below(heading: string): readonly string[] {
  const start = page.lines.indexOf(`## ${heading}`) + 1;
  const end = page.lines.findIndex((line, index) => index >= start && line.startsWith('## '));
  return page.lines.slice(start, end === -1 ? undefined : end);
}
