import { join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import ts from 'typescript';

const root = join(import.meta.dirname, '..', '..');
const libs = join(root, 'libs');
const beside = (name: string): string => join(import.meta.dirname, name);
const [states, streams] = [beside('states-compile.ts'), beside('streams-compile.ts')];
const compiles = [beside('compiles.ts'), states, streams];
const mustNot = beside('must-not-compile.ts');
const statesMustNot = beside('states-must-not-compile.ts');
const streamsMustNot = beside('streams-must-not-compile.ts');

/**
 * Each is a rule of the types taken away; the mistakes it should let through are then no errors any
 * more.
 */
const mutants = [
  {
    without: 'the variance of values',
    file: 'key-value-storage/src/core/store/key-value-store.ts',
    from: '<in out T, in out K extends Key = Key, in I',
    to: '<out T, in out K extends Key = Key, out I',
    missed: ['a narrower value type would let incomplete products in'],
  },
  {
    without: 'the rule that a schema accepts its own output',
    file: 'key-value-storage/src/core/store/state-definition.ts',
    from: 'readonly schema: S & Stable<S>',
    to: 'readonly schema: S',
    missed: ['a transform that changes the type cannot be stored and read back'],
  },
  {
    without: 'the comparison of class and schema',
    file: 'key-value-storage/src/core/store/state-definition.ts',
    from: /\[DroppedBy<S, InstanceType<C>>\] extends \[never\]\s+\? C\s+: C & FieldsMissingInSchema<DroppedBy<S, InstanceType<C>>>/,
    to: 'C',
    missed: ['the schema would drop a field of the class'],
  },
  {
    without: 'the check of constructor parameters',
    file: 'key-value-storage/src/nest/inject-store.decorator.ts',
    from: 'Wanted<What, Indexed, ParameterOf<C, I>> extends ParameterOf<C, I> ? I : I & WrongType<What>',
    to: 'I',
    missed: [
      'the store of another state',
      'a narrower value type would let incomplete products in',
      'a value is not a store',
      'a counter is not a store',
      'the numbers of another counter',
    ],
  },
  {
    without: 'the check of properties',
    file: 'key-value-storage/src/nest/inject-store.decorator.ts',
    from: 'P extends keyof O ? (Wanted<What, Indexed, O[P]> extends O[P] ? P : P & WrongType<What>) : P',
    to: 'P',
    missed: ['the same for a public property'],
  },
  {
    without: 'the promise that retried methods answer',
    file: 'key-value-storage/src/nest/retry/retry-on-conflict.decorator.ts',
    from: '(...args: any[]) => Promise<unknown>',
    to: '(...args: any[]) => any',
    missed: ['only methods that answer a promise'],
  },
  {
    without: 'the look for private members',
    file: 'key-value-storage/src/core/store/state-definition.ts',
    from: '[Pick<T, keyof T>] extends [T]',
    to: '[T] extends [T]',
    missed: ['a copy has no private members, and its methods would fail'],
  },
] as const;

/** The same for typed keys, and for classes made of a schema. */
const stateMutants = [
  {
    without: 'the variance of keys',
    file: 'key-value-storage/src/core/store/key-value-store.ts',
    from: 'in out K extends Key = Key, in I',
    to: 'out K extends Key = Key, in I',
    missed: ['keys of any kind', 'a helper for any keys could use keys that the schema refuses'],
  },
  {
    without: 'the properties that the schema gives',
    file: 'key-value-storage/src/core/store/state-definition.ts',
    from: "readonly '~output'?: NoInfer<Data<T>>",
    to: "readonly '~output'?: unknown",
    missed: [
      'the schema would drop a property that the class adds',
      'derived values are methods: a copy has no getters',
    ],
  },
] as const;

/** Each is a rule without which something that users write would not compile. */
const requirements = [
  {
    without: 'the type of the value in the functions of an index',
    file: 'key-value-storage/src/core/store/state-definition.ts',
    from: 'readonly indexes?: X & IndexDefinitions<T>',
    to: 'readonly indexes?: X',
    refused: states,
  },
  {
    without: 'the state of `initial` in `evolve`',
    file: 'event-store/src/core/definition/stream-definition.ts',
    from: 'readonly evolve: Evolve;',
    to: 'readonly evolve: EvolveFunction<State, M>;',
    refused: streams,
  },
  {
    without: 'the input of the schemas of events',
    file: 'event-store/src/core/definition/event-stream.ts',
    from: 'EventInputOf<D>[]',
    to: 'EventOf<D>[]',
    refused: streams,
  },
  {
    without: 'the input of the schemas of states',
    file: 'key-value-storage/src/core/store/state-definition.ts',
    from: ', StandardSchemaV1.InferInput<S>, X>',
    to: ', StandardSchemaV1.InferOutput<S>, X>',
    refused: states,
  },
] as const;

/** The same for streams. */
const streamMutants = [
  {
    without: 'the check of constructor parameters',
    file: 'key-value-storage/src/nest/inject-store.decorator.ts',
    from: 'Wanted<What, Indexed, ParameterOf<C, I>> extends ParameterOf<C, I> ? I : I & WrongType<What>',
    to: 'I',
    missed: ['a stream of other events', 'a stream is not a store', 'nor is a store a stream'],
  },
  {
    without: 'the events of the definition',
    file: 'event-store/src/core/definition/event-stream.ts',
    from: 'events: readonly EventInputOf<D>[]',
    to: 'events: readonly any[]',
    missed: [
      'an unknown event type',
      'wrong data',
      'the data of another event',
      'what is read and written is that of the stream',
    ],
  },
  {
    without: 'the data of each event',
    file: 'event-store/src/core/definition/stream-definition.ts',
    from: '{ readonly type: K; readonly data?: DataInputOf<M[K]> }',
    to: '{ readonly type: K; readonly data?: unknown }',
    missed: ['data where there are none'],
  },
  {
    without: 'an append that says its check',
    file: 'event-store/src/core/definition/event-stream.ts',
    from: 'options: AppendOptions,',
    to: 'options?: AppendOptions,',
    missed: ['no check must be said'],
  },
  {
    without: 'the names of the versions that can be expected',
    file: 'event-store/src/core/definition/event-stream.ts',
    from: "export type ExpectedVersion = number | 'absent' | 'present' | 'any';",
    to: 'export type ExpectedVersion = number | string;',
    missed: [`'none' could mean "no stream" and "no check"`],
  },
  {
    without: 'one point in time',
    file: 'event-store/src/core/definition/event-stream.ts',
    from: /; readonly at(Time|Version)\?: never/,
    to: '',
    missed: ['one point in time, not two'],
  },
  {
    without: 'the events of the decision',
    file: 'event-store/src/core/definition/event-stream.ts',
    from: 'Awaitable<readonly EventInputOf<D>[]>',
    to: 'Awaitable<readonly any[]>',
    missed: ['the events of another stream'],
  },
  {
    without: 'the events of the bridge',
    file: 'event-store/src/nest/event-bus-bridge.module.ts',
    from: "readonly [Type in EventOf<D>['type']]?:",
    to: 'readonly [Type in string]?:',
    missed: ['an event that the stream does not have'],
  },
] as const;

const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), (file) => ts.sys.readFile(file)) as {
  config: object;
};
const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
const parsed = new Map<string, ts.SourceFile>();

/** The errors in these files, with some sources replaced; what is unchanged is parsed once. */
function errorsIn(
  files: readonly string[],
  replaced: ReadonlyMap<string, string> = new Map(),
): readonly string[] {
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

/** The words of the markers of a file that find no error below them any more. */
function unusedMarkers(file: string, errors: readonly string[]): readonly string[] {
  const lines = ts.sys.readFile(file)?.split('\n') ?? [];
  return errors
    .filter((error) => error.includes("Unused '@ts-expect-error'"))
    .map((error) => lines[Number.parseInt(error, 10)]?.replace(/^.*@ts-expect-error\s+/, '') ?? '');
}

/** A source with a rule taken away, for `errorsIn`. */
function mutated(file: string, from: string | RegExp, to: string): ReadonlyMap<string, string> {
  const path = join(libs, file);
  const text = ts.sys.readFile(path) ?? '';
  const changed = text.replaceAll(typeof from === 'string' ? from : new RegExp(from, 'g'), to);
  expect(changed).not.toBe(text);
  return new Map([[path, changed]]);
}

describe('The types', () => {
  let errors: readonly string[];
  beforeAll(() => {
    errors = errorsIn([...compiles, mustNot, statesMustNot, streamsMustNot]);
  });

  it('let what users write compile, and each of their mistakes not', () => {
    expect(errors).toEqual([]);
  });

  it.each([
    ...mutants.map((mutant) => ({ ...mutant, of: 'stores', held: mustNot })),
    ...stateMutants.map((mutant) => ({ ...mutant, of: 'states', held: statesMustNot })),
    ...streamMutants.map((mutant) => ({ ...mutant, of: 'streams', held: streamsMustNot })),
  ])('would let mistakes with $of through without $without', ({ file, from, to, missed, held }) => {
    const unused = unusedMarkers(held, errorsIn([held], mutated(file, from, to)));
    expect(unused).toEqual(expect.arrayContaining([...missed]));
  });

  it.each(requirements)('would refuse what users write without $without', ({ file, from, to, refused }) => {
    expect(errorsIn([refused], mutated(file, from, to))).not.toEqual([]);
  });
});
