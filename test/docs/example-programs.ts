/**
 * The examples of the pages as programs. The rules:
 *
 * - All `ts` blocks of a page are one program, in their order: a later block continues an earlier
 *   one. Imports may be repeated.
 * - A block inside an HTML comment belongs to the program: set-up that readers need not see.
 * - ```` ```ts new-program ```` starts another program, for a page that shows the same class twice.
 * - `console.log(…); // → text` must print exactly this text. `// →` on the lines below is what the
 *   next calls print. Every `console.log` needs such a comment.
 * - `await …; // throws CODE` rejects with the storage error of this code.
 * - `process.env['DATABASE_URL']` is the address of an empty Postgres database, for a program that
 *   asks for it.
 *
 * Line n of a program is line n of its page, so that errors of the compiler point into the page.
 */
import ts from 'typescript';
import { pages, type Fence, type Page } from './pages.js';

export interface Program {
  /** The name of its file, for example `docs-guides-http-1`. */
  readonly name: string;
  readonly page: string;
  /** The compiled source. */
  readonly source: string;
  /** The source that runs: a recorder gets what it prints and throws. Line numbers are the same. */
  readonly runnable: string;
  /** The expected output or error of each line, from 1. */
  readonly expected: ReadonlyMap<number, readonly string[]>;
  /** The program declares tests, so it must be loaded while tests are declared. */
  readonly declaresTests: boolean;
  /** The program reads `DATABASE_URL`. */
  readonly needsDatabase: boolean;
}

export const readPrograms = (): readonly Program[] => pages.flatMap(programsOf);

function programsOf(page: Page): readonly Program[] {
  const groups: Fence[][] = [];
  for (const fence of page.fences.filter(({ language }) => language === 'ts')) {
    const unknown = fence.words.filter((word) => word !== 'new-program');
    if (unknown.length > 0)
      throw new Error(`${page.path}:${fence.start}: unknown word of an example: ${unknown.join(', ')}.`);
    if (groups.length === 0 || fence.words.includes('new-program')) groups.push([]);
    groups.at(-1)?.push(fence);
  }
  return groups.map((fences, index) => programOf(page, fences, index + 1));
}

function programOf(page: Page, fences: readonly Fence[], number: number): Program {
  const lines: string[] = page.lines.map(() => '');
  for (const { start, lines: code } of fences)
    for (const [index, line] of code.entries()) lines[start + index] = line;
  const source = withoutRepeatedImports(lines.join('\n'));
  const name = `${page.path.replace(/\.md$/, '').replace(/[^\w]+/g, '-')}-${number}`;
  const declaresTests = source.includes("from '@jest/globals'");
  const needsDatabase = source.includes('DATABASE_URL');
  return { name, page: page.path, source, ...instrumented(page, source, name), declaresTests, needsDatabase };
}

interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

const parse = (source: string): ts.SourceFile =>
  ts.createSourceFile('example.ts', source, ts.ScriptTarget.ESNext, true);

function edited(source: string, edits: readonly Edit[]): string {
  let text = source;
  for (const edit of edits.toSorted((one, other) => other.start - one.start))
    text = text.slice(0, edit.start) + edit.text + text.slice(edit.end);
  return text;
}

/** Removes imports that an earlier block of the program has. Line numbers stay the same. */
function withoutRepeatedImports(source: string): string {
  const file = parse(source);
  const seen = new Set<string>();
  const edits: Edit[] = [];
  for (const statement of file.statements) {
    if (!ts.isImportDeclaration(statement)) continue;
    const from = (statement.moduleSpecifier as ts.StringLiteral).text;
    const named = statement.importClause?.namedBindings;
    if (named === undefined || !ts.isNamedImports(named)) continue;
    const kept = named.elements.filter(({ name }) => !seen.has(`${from} ${name.text}`));
    for (const { name } of named.elements) seen.add(`${from} ${name.text}`);
    if (kept.length === named.elements.length) continue;
    const removedLines = file.text.slice(named.getStart(), named.end).split('\n').length - 1;
    const text = `{ ${kept.map((element) => element.getText()).join(', ')} }${'\n'.repeat(removedLines)}`;
    edits.push({ start: named.getStart(), end: named.end, text });
  }
  return edited(source, edits);
}

function instrumented(page: Page, source: string, name: string): Pick<Program, 'runnable' | 'expected'> {
  const file = parse(source);
  const lineOf = (position: number): number => file.getLineAndCharacterOfPosition(position).line + 1;
  const expected = expectationsOf(source);
  const edits: Edit[] = [];
  const linesWithOutput = new Set<number>();
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && node.expression.getText() === 'console.log') {
      const line = lineOf(node.end);
      if (!expected.has(line))
        throw new Error(
          `${page.path}:${line}: console.log needs its expected output: console.log(…); // → …`,
        );
      linesWithOutput.add(line);
      edits.push({
        start: node.expression.getStart(),
        end: node.expression.end,
        text: `__example.print(${line})`,
      });
    }
    if (ts.isExpressionStatement(node) || ts.isVariableStatement(node)) {
      const [, code] = /^[ \t]*\/\/ throws ([A-Z_]+)/.exec(source.slice(node.end)) ?? [];
      if (code !== undefined) {
        const line = lineOf(node.end);
        linesWithOutput.add(line);
        edits.push({
          start: node.getStart(),
          end: node.getStart(),
          text: `await __example.throws(${line}, async () => { `,
        });
        edits.push({ start: node.end, end: node.end, text: ' });' });
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  for (const line of expected.keys())
    if (!linesWithOutput.has(line))
      throw new Error(
        `${page.path}:${line}: the comment expects output or an error, but the line has neither.`,
      );
  return {
    runnable: `const __example = globalThis.kventExamples.get('${name}');${edited(source, edits)}`,
    expected,
  };
}

function expectationsOf(source: string): ReadonlyMap<number, readonly string[]> {
  const expected = new Map<number, string[]>();
  let owner = 0;
  for (const [index, line] of source.split('\n').entries()) {
    const [, before = '', arrow, code] = /^(.*?)(?:\/\/ → (.*)|\/\/ throws ([A-Z_]+).*)$/.exec(line) ?? [];
    const alone = before.trim() === '';
    if (line.trim() !== '' && !(alone && arrow !== undefined)) owner = index + 1;
    const text = arrow ?? (code === undefined ? undefined : `throws ${code}`);
    if (text !== undefined) expected.set(owner, [...(expected.get(owner) ?? []), text.trimEnd()]);
  }
  return expected;
}
