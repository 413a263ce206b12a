import { join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import ts from 'typescript';

const root = join(import.meta.dirname, '..', '..');
const sources = join(root, 'libs', 'key-value-storage', 'src');
const [compiles, mustNot] = ['compiles.ts', 'must-not-compile.ts'].map((name) => join(import.meta.dirname, name)) as [string, string];

/** Each is a rule of the types taken away; the mistakes it should let through are then no errors any more. */
const mutants = [
  {
    without: 'the variance of stores',
    file: 'core/key-value-store.ts',
    from: 'class KeyValueStore<in out T>',
    to: 'class KeyValueStore<out T>',
    missed: ['a narrower value type would let incomplete products in'],
  },
  {
    without: 'the rule that a schema accepts its own output',
    file: 'core/state-definition.ts',
    from: 'readonly schema: S & Stable<S>',
    to: 'readonly schema: S',
    missed: ['a transform that changes the type cannot be stored and read back'],
  },
  {
    without: 'the comparison of class and schema',
    file: 'core/state-definition.ts',
    from: /\[DroppedBy<S, InstanceType<C>>\] extends \[never\] \? C : C & FieldsMissingInSchema<DroppedBy<S, InstanceType<C>>>/,
    to: 'C',
    missed: ['the schema would drop a field of the class'],
  },
  {
    without: 'the check of constructor parameters',
    file: 'nest/inject-store.decorator.ts',
    from: 'What extends ParameterOf<C, I> ? I : I & WrongType<What>',
    to: 'I',
    missed: ['the store of another state', 'a narrower value type would let incomplete products in', 'a value is not a store'],
  },
  {
    without: 'the check of properties',
    file: 'nest/inject-store.decorator.ts',
    from: 'P extends keyof O ? (What extends O[P] ? P : P & WrongType<What>) : P',
    to: 'P',
    missed: ['the same for a public property'],
  },
  {
    without: 'the promise that retried methods answer',
    file: 'nest/retry-on-conflict.decorator.ts',
    from: '(...given: any[]) => Promise<unknown>',
    to: '(...given: any[]) => any',
    missed: ['only methods that answer a promise'],
  },
  {
    without: 'the look for private members',
    file: 'core/state-definition.ts',
    from: '[Pick<T, keyof T>] extends [T]',
    to: '[T] extends [T]',
    missed: ['a copy has no private members, and its methods would fail'],
  },
] as const;

const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), (file) => ts.sys.readFile(file)) as { config: object };
const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
const parsed = new Map<string, ts.SourceFile>();

/** The errors in these files, with some sources replaced; what is unchanged is parsed once. */
function errorsIn(files: readonly string[], replaced: ReadonlyMap<string, string> = new Map()): readonly string[] {
  const host = ts.createCompilerHost(options);
  const read = host.getSourceFile.bind(host);
  host.getSourceFile = (name, language, ...more) => {
    const text = replaced.get(name);
    if (text !== undefined) return ts.createSourceFile(name, text, language);
    const known = parsed.get(name) ?? read(name, language, ...more);
    if (known !== undefined) parsed.set(name, known);
    return known;
  };
  const program = ts.createProgram({ rootNames: files, options: { ...options, incremental: false }, host });
  return files.flatMap((name) => {
    const file = program.getSourceFile(name);
    return program.getSemanticDiagnostics(file).map(({ start = 0, messageText }) => {
      const { line } = file?.getLineAndCharacterOfPosition(start) ?? { line: -1 };
      return `${line}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
    });
  });
}

/** The words of the markers that find no error below them any more. */
function unusedMarkers(errors: readonly string[]): readonly string[] {
  const lines = ts.sys.readFile(mustNot)?.split('\n') ?? [];
  return errors
    .filter((error) => error.includes("Unused '@ts-expect-error'"))
    .map((error) => lines[Number.parseInt(error, 10)]?.replace(/^.*@ts-expect-error\s+/, '') ?? '');
}

describe('The types', () => {
  let errors: readonly string[];
  beforeAll(() => {
    errors = errorsIn([compiles, mustNot]);
  }, 60_000);

  it('let what users write compile, and each of their mistakes not', () => {
    expect(errors).toEqual([]);
  });

  it.each(mutants)(
    'would let mistakes through without $without',
    ({ file, from, to, missed }) => {
      const path = join(sources, file);
      const text = ts.sys.readFile(path) ?? '';
      const mutated = text.replaceAll(typeof from === 'string' ? from : new RegExp(from, 'g'), to);
      expect(mutated).not.toBe(text);
      const unused = unusedMarkers(errorsIn([mustNot], new Map([[path, mutated]])));
      expect(unused).toEqual(expect.arrayContaining([...missed]));
    },
    60_000,
  );
});
