/**
 * The options that the sources declare: interfaces with their comments, and the default values
 * beside them.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { root } from './pages.js';

export interface DeclaredOption {
  readonly name: string;
  readonly type: string;
  /** The text of `@default` in the comment. */
  readonly default: string | undefined;
  readonly meaning: string;
  readonly required: boolean;
}
export interface DeclaredOptions {
  readonly name: string;
  readonly file: string;
  /** The comment of the interface. */
  readonly meaning: string;
  readonly parents: readonly string[];
  readonly options: readonly DeclaredOption[];
}

const files = readdirSync(join(root, 'libs'))
  .flatMap((library) =>
    readdirSync(join(root, 'libs', library, 'src'), { recursive: true, encoding: 'utf8' }).map(
      (name) => `libs/${library}/src/${name}`,
    ),
  )
  .filter((file) => file.endsWith('.ts') && !file.endsWith('.spec.ts'));

const parsed = new Map(
  files.map((file) => [
    file,
    ts.createSourceFile(file, readFileSync(join(root, file), 'utf8'), ts.ScriptTarget.ESNext, true),
  ]),
);

/** The options of an interface, or `undefined` for an unknown interface. */
export function declaredOptions(name: string): DeclaredOptions | undefined {
  for (const [file, source] of parsed) {
    const found = source.statements.find(
      (statement): statement is ts.InterfaceDeclaration =>
        ts.isInterfaceDeclaration(statement) && statement.name.text === name,
    );
    if (found !== undefined) return describeInterface(file, found);
  }
  return undefined;
}

function describeInterface(file: string, found: ts.InterfaceDeclaration): DeclaredOptions {
  const parents = (found.heritageClauses ?? []).flatMap(({ types }) =>
    types.map(({ expression }) => expression.getText()),
  );
  const members = found.members.filter(
    (member) => ts.isPropertySignature(member) || ts.isMethodSignature(member),
  );
  const options = members.map((member) => {
    const { meaning, byDefault } = commentOf(member);
    return {
      name: member.name.getText(),
      type: typeOf(member),
      default: byDefault,
      meaning,
      required: member.questionToken === undefined,
    };
  });
  return { name: found.name.text, file, meaning: commentOf(found).meaning, parents, options };
}

function typeOf(member: ts.PropertySignature | ts.MethodSignature): string {
  const type = (member.type?.getText() ?? 'unknown')
    .replace(/\/\/.*$/gm, '')
    .replace(/\s+/g, ' ')
    .replace(/^\| | \| undefined$/g, '');
  return ts.isMethodSignature(member)
    ? `(${member.parameters.map((each) => each.getText()).join(', ')}) => ${type}`
    : type;
}

function commentOf(node: ts.Node): { readonly meaning: string; readonly byDefault: string | undefined } {
  const [doc] = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc).slice(-1);
  const text = (comment: ts.JSDoc['comment']): string =>
    (ts.getTextOfJSDocComment(comment) ?? '').replace(/\s+/g, ' ').trim();
  const tag = doc?.tags?.find(({ tagName }) => tagName.text === 'default');
  return { meaning: text(doc?.comment), byDefault: tag === undefined ? undefined : text(tag.comment) };
}

/** The exports of a front door whose names match. */
export function exportedNames(door: string, matching: RegExp): readonly string[] {
  const source = parsed.get(door);
  if (source === undefined) throw new Error(`Unknown front door ${door}.`);
  return source.statements.flatMap((statement) => {
    const clause = ts.isExportDeclaration(statement) ? statement.exportClause : undefined;
    return clause !== undefined && ts.isNamedExports(clause)
      ? clause.elements.map(({ name }) => name.text).filter((name) => matching.test(name))
      : [];
  });
}

/**
 * The literals of objects named `defaults` or `…Defaults` in a file: the values for absent options.
 */
export function literalDefaults(file: string): ReadonlyMap<string, string> {
  const literals = new Map<string, string>();
  const visit = (node: ts.Node): void => {
    if (
      ts.isVariableDeclaration(node) &&
      /^defaults$|Defaults$/.test(node.name.getText()) &&
      node.initializer !== undefined
    ) {
      const { initializer } = node;
      if (ts.isObjectLiteralExpression(initializer)) {
        for (const property of initializer.properties) {
          if (!ts.isPropertyAssignment(property)) continue;
          const value = ts.isAsExpression(property.initializer)
            ? property.initializer.expression
            : property.initializer;
          if (ts.isNumericLiteral(value) || ts.isStringLiteral(value))
            literals.set(property.name.getText(), value.getText());
        }
      }
    }
    ts.forEachChild(node, visit);
  };
  const source = parsed.get(file);
  if (source !== undefined) visit(source);
  return literals;
}

/** The comment of each limit in `limits.ts`. */
export function limitComments(): ReadonlyMap<string, string> {
  const comments = new Map<string, string>();
  const visit = (node: ts.Node): void => {
    if (ts.isPropertyAssignment(node)) comments.set(node.name.getText(), commentOf(node).meaning);
    ts.forEachChild(node, visit);
  };
  const source = parsed.get('libs/key-value-storage/src/core/base/limits.ts');
  if (source !== undefined) visit(source);
  return comments;
}

/** The fields of each error code, as `StorageErrorDetails` declares them. */
export function declaredErrorFields(): ReadonlyMap<string, readonly string[]> {
  const declared = [
    ['libs/key-value-storage/src/core/base/errors.ts', 'StorageErrorDetails'],
    ['libs/event-store/src/core/definition/stream-errors.ts', 'StreamErrorDetails'],
  ] as const;
  const codes = declared.flatMap(([file, interfaceName]) => {
    const details = parsed
      .get(file)
      ?.statements.filter(ts.isInterfaceDeclaration)
      .find(({ name }) => name.text === interfaceName);
    return details?.members.filter(ts.isPropertySignature) ?? [];
  });
  return new Map(codes.map(({ name, type }) => [name.getText(), type === undefined ? [] : fieldsOf(type)]));
}

const fieldsOf = (type: ts.TypeNode): readonly string[] =>
  ts.isTypeLiteralNode(type)
    ? type.members.filter(ts.isPropertySignature).map(({ name }) => name.getText())
    : [];
