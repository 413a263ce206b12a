/**
 * Sentences of a page with the clauses and tests that hold them: `- sentence`, and below it
 * `- file › name`, `- contract › clause` or `- streams › clause`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { streamClauses } from '@kvent/event-store/testing';
import { clauses, storeClauses } from '@kvent/key-value-storage/testing';
import ts from 'typescript';
import { root, type Page } from './pages.js';

export interface HeldSentence {
  readonly sentence: string;
  /** The second-level heading above it. */
  readonly heading: string;
  readonly heldBy: readonly string[];
}

/** The sentences of a page from the line `from` on. */
export function heldSentences(page: Page, from: number): readonly HeldSentence[] {
  const found: { sentence: string; heading: string; heldBy: string[] }[] = [];
  let heading = '';
  for (const line of page.lines.slice(from)) {
    if (line.startsWith('## ')) heading = line.slice(3);
    if (line.startsWith('- ')) found.push({ sentence: line.slice(2), heading, heldBy: [] });
    if (line.startsWith('  - ')) found.at(-1)?.heldBy.push(line.slice(4));
  }
  return found;
}

export function nameIn(holder: string): string {
  return holder.slice(holder.indexOf(' › ') + 3);
}

/** Whether the clause or the test exists. */
export function exists(holder: string): boolean {
  const name = nameIn(holder);
  if (holder.startsWith('contract › '))
    return [...clauses, ...storeClauses].some((clause) => clause.name === name);
  if (holder.startsWith('streams › ')) return streamClauses.some((clause) => clause.name === name);
  const file = holder.slice(0, holder.indexOf(' › '));
  return existsSync(join(root, file)) && testNames(file).includes(name);
}

/** The tests of a file: their names, and their names with the title of their `describe`. */
function testNames(file: string): readonly string[] {
  const names: string[] = [];
  const visit = (node: ts.Node, above: string | undefined): void => {
    if (ts.isCallExpression(node) && /^(it|test|describe)\.(skip|todo)\b/.test(node.expression.getText()))
      return;
    const [kind, name] = declared(node);
    if (kind === 'test' && name !== undefined)
      names.push(name, ...(above === undefined ? [] : [`${above} › ${name}`]));
    ts.forEachChild(node, (child) => visit(child, kind === 'describe' ? name : above));
  };
  visit(
    ts.createSourceFile(file, readFileSync(join(root, file), 'utf8'), ts.ScriptTarget.ESNext, true),
    undefined,
  );
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

/** The text of a name; each computed part of a template is `…`. */
function textOf(name: ts.Expression): string | undefined {
  if (ts.isStringLiteralLike(name)) return name.text;
  if (!ts.isTemplateExpression(name)) return undefined;
  return name.head.text + name.templateSpans.map(({ literal }) => `…${literal.text}`).join('');
}
