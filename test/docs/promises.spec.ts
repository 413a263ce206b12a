/** Each sentence of `docs/promises.md` names the clauses and tests that hold it, and each of them is there. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { streamClauses } from '@kvent/event-store/testing';
import { clauses, storeClauses } from '@kvent/key-value-storage/testing';
import ts from 'typescript';
import { pageAt, root } from './pages.js';

interface Promised {
  readonly sentence: string;
  readonly law: string;
  readonly heldBy: readonly string[];
}

const page = pageAt('docs/promises.md');
const firstLaw = page.headings.find(({ level }) => level === 2)?.line ?? 0;
const promises = readPromises();

describe('docs/promises.md', () => {
  it('has a heading for each law, and promises something under each, or says that it does not', () => {
    const laws = page.headings.filter(({ text }) => /^\d+\. /.test(text)).map(({ text }) => text);
    expect(laws.map((law) => Number.parseInt(law, 10))).toEqual(Array.from({ length: 14 }, (_, index) => index + 1));
    const silent = laws.filter((law) => promises.every((promise) => promise.law !== law));
    expect(silent).toEqual(laws.filter((law) => below(law).some((line) => line.startsWith('Nothing is promised yet'))));
  });

  it('says nothing that is not a promise', () => {
    const loose = page.lines.slice(firstLaw).filter((line) => !/^(## .*|- .*|  - .*|Nothing is promised yet.*|)$/.test(line));
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
    const elsewhere = promises.flatMap(({ law, heldBy }) =>
      /^\d/.test(law) &&
      heldBy.some((holder) => holder.startsWith('contract › ')) &&
      heldBy.every((holder) => laws.get(nameIn(holder)) !== Number.parseInt(law, 10))
        ? heldBy
        : [],
    );
    expect(elsewhere).toEqual([]);
  });
});

function readPromises(): readonly Promised[] {
  const found: { sentence: string; law: string; heldBy: string[] }[] = [];
  let law = '';
  for (const line of page.lines.slice(firstLaw)) {
    if (line.startsWith('## ')) law = line.slice(3);
    if (line.startsWith('- ')) found.push({ sentence: line.slice(2), law, heldBy: [] });
    if (line.startsWith('  - ')) found.at(-1)?.heldBy.push(line.slice(4));
  }
  return found;
}

function below(heading: string): readonly string[] {
  const start = page.lines.indexOf(`## ${heading}`) + 1;
  const end = page.lines.findIndex((line, index) => index >= start && line.startsWith('## '));
  return page.lines.slice(start, end === -1 ? undefined : end);
}

function nameIn(holder: string): string {
  return holder.slice(holder.indexOf(' › ') + 3);
}

function isThere(holder: string): boolean {
  const name = nameIn(holder);
  if (holder.startsWith('contract › ')) return [...clauses, ...storeClauses].some((clause) => clause.name === name);
  if (holder.startsWith('streams › ')) return streamClauses.some((clause) => clause.name === name);
  const file = holder.slice(0, holder.indexOf(' › '));
  return existsSync(join(root, file)) && testNames(file).includes(name);
}

/** Every test of a file, alone and behind the heading that it stands under. */
function testNames(file: string): readonly string[] {
  const names: string[] = [];
  const visit = (node: ts.Node, above: string | undefined): void => {
    if (ts.isCallExpression(node) && /^(it|test|describe)\.(skip|todo)\b/.test(node.expression.getText())) return;
    const [kind, name] = declared(node);
    if (kind === 'test' && name !== undefined) names.push(name, ...(above === undefined ? [] : [`${above} › ${name}`]));
    ts.forEachChild(node, (child) => visit(child, kind === 'describe' ? name : above));
  };
  visit(ts.createSourceFile(file, readFileSync(join(root, file), 'utf8'), ts.ScriptTarget.ESNext, true), undefined);
  return names;
}

function declared(node: ts.Node): readonly [kind: 'test' | 'describe' | undefined, name: string | undefined] {
  if (!ts.isCallExpression(node)) return [undefined, undefined];
  const [, word] = /^(it|test|describe)\b/.exec(node.expression.getText()) ?? [];
  const [first] = node.arguments;
  const name = first === undefined ? undefined : textOf(first);
  if (word === undefined || name === undefined) return [undefined, undefined];
  return [word === 'describe' ? 'describe' : 'test', name];
}

/** What a name holds that is worked out stands there as `…`. */
function textOf(name: ts.Expression): string | undefined {
  if (ts.isStringLiteralLike(name)) return name.text;
  if (!ts.isTemplateExpression(name)) return undefined;
  return name.head.text + name.templateSpans.map(({ literal }) => `…${literal.text}`).join('');
}
