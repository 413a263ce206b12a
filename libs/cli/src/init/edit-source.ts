/**
 * Small edits of TypeScript sources. Positions come from the compiler of the application; all text
 * that is not edited stays as it is.
 */
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import type * as Compiler from 'typescript';
import { storageError } from '@kvent/key-value-storage/internal/rows';
import { UsageError } from '../input/usage-error.js';

type TypeScript = typeof Compiler;

/** What is added to a module: an import statement, and an element of `imports`. */
export interface Addition {
  /** The first line of the element names it: `KeyValueStorageModule.forRoot`. */
  readonly name: string;
  readonly statements: readonly { readonly names: readonly string[]; readonly from: string }[];
  readonly element: readonly string[];
}

interface Insertion {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

interface Source {
  /** For messages. */
  readonly path: string;
  readonly text: string;
}

/** `UsageError` if the application has no TypeScript whose parser a program can call. */
export function typeScriptOf(folder: string): TypeScript {
  let compiler: Partial<TypeScript> = {};
  try {
    compiler = createRequire(resolve(folder, 'package.json'))('typescript') as Partial<TypeScript>;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
  }
  if (compiler.createSourceFile === undefined)
    throw new UsageError(
      `kvent init needs the package typescript (5 or 6) of the application in ${folder}: install its packages first.`,
    );
  return compiler as TypeScript;
}

/**
 * A module class with these elements in its `imports`; the same text if it has them already.
 * `STORAGE_UNSUPPORTED` with file and line if the decorator is written in another way.
 */
export function addToModule(ts: TypeScript, source: Source, additions: readonly Addition[]): string {
  const missing = additions.filter(({ name }) => !source.text.includes(name));
  if (missing.length === 0) return source.text;
  const file = parse(ts, source);
  const refuse = (node: Compiler.Node | undefined, problem: string): Error =>
    refusal(file, source, node, problem, missing);
  const elements = missing.map(({ element }) => element);
  const { unit, quote } = styleOf(source.text);
  const metadata = metadataOf(ts, file, refuse);
  const property = metadata.properties.find((each) => each.name?.getText(file) === 'imports');
  const insertion =
    property === undefined
      ? newProperty(file, metadata, elements, unit)
      : extendedArray(ts, file, property, elements, unit, refuse);
  const statements = missing
    .flatMap((addition) => addition.statements)
    .map(({ names, from }) => importText(names, `${quote}${from}${quote}`, unit))
    .filter((statement) => !source.text.includes(statement));
  return edited(source.text, [insertion, importInsertion(ts, file, statements)]);
}

/**
 * `app.enableShutdownHooks()` after the creation of the application; `undefined` if none is found.
 */
export function addShutdownHooks(ts: TypeScript, source: Source): string | undefined {
  if (source.text.includes('enableShutdownHooks')) return source.text;
  const file = parse(ts, source);
  let insertion: Insertion | undefined;
  const visit = (node: Compiler.Node): void => {
    if (ts.isVariableStatement(node)) {
      const [variable] = node.declarationList.declarations;
      const created = variable?.initializer;
      if (
        variable !== undefined &&
        created !== undefined &&
        ts.isAwaitExpression(created) &&
        /^NestFactory\s*\.\s*create(Microservice)?\b/.test(created.expression.getText(file))
      ) {
        const text = `\n${indentationAt(source.text, node.getStart(file))}${variable.name.getText(file)}.enableShutdownHooks();`;
        insertion = { start: node.end, end: node.end, text };
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return insertion === undefined ? undefined : edited(source.text, [insertion]);
}

const parse = (ts: TypeScript, { path, text }: Source): Compiler.SourceFile =>
  ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);

type Refuse = (node: Compiler.Node | undefined, problem: string) => Error;

/** The object in `@Module({ … })` of the one module class of the file. */
function metadataOf(
  ts: TypeScript,
  file: Compiler.SourceFile,
  refuse: Refuse,
): Compiler.ObjectLiteralExpression {
  const decorators = file.statements
    .filter((statement) => ts.isClassDeclaration(statement))
    .flatMap((statement) => ts.getDecorators(statement) ?? [])
    .filter(
      ({ expression }) => ts.isCallExpression(expression) && expression.expression.getText(file) === 'Module',
    );
  const [decorator, second] = decorators;
  if (decorator === undefined) throw refuse(undefined, 'has no class with @Module');
  if (second !== undefined) throw refuse(second, 'has a second class with @Module');
  const [metadata] = (decorator.expression as Compiler.CallExpression).arguments;
  if (metadata === undefined || !ts.isObjectLiteralExpression(metadata))
    throw refuse(metadata ?? decorator, 'has a @Module whose metadata are not an object literal');
  return metadata;
}

function newProperty(
  file: Compiler.SourceFile,
  metadata: Compiler.ObjectLiteralExpression,
  elements: Elements,
  unit: string,
): Insertion {
  const start = metadata.getStart(file) + 1;
  const outer = indentationAt(file.text, start);
  const property = `\n${outer}${unit}imports: ${arrayText(elements, outer + unit, unit)},`;
  const isEmpty = metadata.properties.length === 0;
  return {
    start,
    end: isEmpty ? metadata.end - 1 : start,
    text: isEmpty ? `${property}\n${outer}` : property,
  };
}

function extendedArray(
  ts: TypeScript,
  file: Compiler.SourceFile,
  property: Compiler.ObjectLiteralElementLike,
  elements: Elements,
  unit: string,
  refuse: Refuse,
): Insertion {
  const array = ts.isPropertyAssignment(property) ? property.initializer : undefined;
  if (array === undefined || !ts.isArrayLiteralExpression(array))
    throw refuse(property, 'has imports that are not an array literal');
  const indentation = indentationAt(file.text, property.getStart(file));
  const last = array.elements.at(-1);
  const isOneLine = !array.getText(file).includes('\n');
  if (last !== undefined && !isOneLine) {
    const inner = indentationAt(file.text, last.getStart(file));
    const text = elements.map((element) => `,\n${indented(element, inner)}`).join('');
    return { start: last.end, end: last.end, text };
  }
  const present = array.elements.map((element): readonly string[] => [element.getText(file)]);
  const text = arrayText([...present, ...elements], indentation, unit);
  return { start: array.getStart(file), end: array.end, text };
}

function importInsertion(
  ts: TypeScript,
  file: Compiler.SourceFile,
  statements: readonly string[],
): Insertion {
  const last = file.statements.filter((statement) => ts.isImportDeclaration(statement)).at(-1);
  const start = last?.end ?? 0;
  const text = statements.map((each) => (last === undefined ? `${each}\n` : `\n${each}`)).join('');
  return { start, end: start, text };
}

/** In one line if it fits into the width that Prettier has by default. */
function importText(names: readonly string[], from: string, unit: string): string {
  const line = `import { ${names.join(', ')} } from ${from};`;
  return line.length <= 80
    ? line
    : `import {\n${names.map((name) => `${unit}${name},\n`).join('')}} from ${from};`;
}

type Elements = readonly (readonly string[])[];

const arrayText = (elements: Elements, outer: string, unit: string): string =>
  `[\n${elements.map((element) => `${indented(element, outer + unit)},\n`).join('')}${outer}]`;

const indented = (lines: readonly string[], indentation: string): string =>
  lines.map((line) => indentation + line).join('\n');

function indentationAt(text: string, position: number): string {
  const start = text.lastIndexOf('\n', position - 1) + 1;
  return /^[ \t]*/.exec(text.slice(start))?.[0] ?? '';
}

/** The indentation of one level, and the quotes, as the file has them. */
function styleOf(text: string): { readonly unit: string; readonly quote: string } {
  const unit = /\n([ \t]+)\S/.exec(text)?.[1] ?? '  ';
  return { unit, quote: /from\s*"/.test(text) ? '"' : "'" };
}

function edited(text: string, insertions: readonly Insertion[]): string {
  const lineEnd = text.includes('\r\n') ? '\r\n' : '\n';
  let result = text;
  for (const { start, end, text: added } of insertions.toSorted((a, b) => b.start - a.start))
    result = result.slice(0, start) + added.replaceAll('\n', lineEnd) + result.slice(end);
  return result;
}

function refusal(
  file: Compiler.SourceFile,
  source: Source,
  node: Compiler.Node | undefined,
  problem: string,
  additions: readonly Addition[],
): Error {
  const line = node === undefined ? 1 : file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1;
  const byHand = additions.map(({ element }) => element.map((each) => each.trim()).join(' ')).join(', ');
  return storageError(
    'STORAGE_UNSUPPORTED',
    `${source.path}:${line} ${problem}, which kvent init does not edit. Nothing was changed. Write into the imports of the module yourself: ${byHand}`,
    {},
  );
}
