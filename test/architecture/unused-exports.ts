/**
 * Exports that no other file uses.
 *
 * A door of a package is a user of what it exports again; what a door itself exports is the API,
 * and is not looked at. A spec is a user only of what its own file uses as well: a unit may be
 * exported to be tested alone, but what only a spec uses is dead.
 */
import ts from 'typescript';
import { isSpec, readSource, resolveFile } from './source-files.js';

/** The exports of `files` that no file of `users` uses, each as `file: name`. */
export function unusedExports(
  files: readonly string[],
  users: readonly string[],
  read = readSource,
): readonly string[] {
  const [byCode, bySpecs] = [new Set<string>(), new Set<string>()];
  for (const user of users)
    for (const use of usesOf(user, read(user))) (isUnitTest(user) ? bySpecs : byCode).add(use);
  return files.flatMap((file) => {
    if (byCode.has(`${file}: *`)) return [];
    const text = read(file);
    return exportsOf(parse(file, text))
      .filter((name) => !byCode.has(`${file}: ${name}`))
      .filter((name) => !bySpecs.has(`${file}: ${name}`) || !isMentionedTwice(name, text))
      .map((name) => `${file}: ${name}`);
  });
}

/** The suite of the pages is a user: it holds them to the tables of errors. */
const isUnitTest = (user: string): boolean => isSpec(user) && !user.startsWith('test/docs/');

const isMentionedTwice = (name: string, text: string): boolean =>
  text.split(new RegExp(`\\b${name}\\b`)).length > 2;

const parse = (file: string, text: string): ts.SourceFile =>
  ts.createSourceFile(file, text, ts.ScriptTarget.Latest);

function exportsOf({ statements }: ts.SourceFile): readonly string[] {
  return statements.flatMap((statement) => {
    if (ts.isExportDeclaration(statement)) return namesOf(statement.exportClause, ({ name }) => name.text);
    const modifiers = ts.canHaveModifiers(statement) ? (statement.modifiers ?? []) : [];
    if (!modifiers.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)) return [];
    if (!ts.isVariableStatement(statement)) return [textOf((statement as ts.DeclarationStatement).name)];
    return statement.declarationList.declarations.map(({ name }) => textOf(name));
  });
}

const textOf = (name: ts.Node | undefined): string => (name && ts.isIdentifier(name) ? name.text : '');

/** What a file imports or exports again, each as `file: name`; `*` is every name. */
function usesOf(file: string, text: string): readonly string[] {
  const uses: string[] = [];
  const use = (specifier: ts.Node | undefined, names: readonly string[]): void => {
    const target = specifier && ts.isStringLiteral(specifier) && resolveFile(file, specifier.text);
    if (typeof target === 'string') uses.push(...names.map((name) => `${target}: ${name}`));
  };
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      use(node.arguments[0], ['*']);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument))
      use(node.argument.literal, ['*']);
    ts.forEachChild(node, visit);
  };
  const source = parse(file, text);
  for (const statement of source.statements) {
    if (ts.isImportDeclaration(statement))
      use(statement.moduleSpecifier, namesOf(statement.importClause?.namedBindings, original));
    else if (ts.isExportDeclaration(statement))
      use(statement.moduleSpecifier, namesOf(statement.exportClause, original));
  }
  if (text.includes('import(')) visit(source);
  return uses;
}

type Specifier = ts.ImportSpecifier | ts.ExportSpecifier;
const original = ({ propertyName, name }: Specifier): string => (propertyName ?? name).text;

function namesOf(
  bindings: ts.NamedImportBindings | ts.NamedExportBindings | undefined,
  nameOf: (specifier: Specifier) => string,
): readonly string[] {
  if (bindings === undefined || !('elements' in bindings)) return ['*'];
  return Array.from<Specifier, string>(bindings.elements, nameOf);
}
