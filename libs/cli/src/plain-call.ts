/**
 * Fast path: reads a call without commander, if every word of it is plain: the name of a command,
 * its arguments, and options in full. Loading commander and declaring all commands takes at least
 * 7 ms of CPU, a tenth of `kvent ls`. Every other call is left to commander, which has all forms of
 * options, the messages and the help.
 */
import type { CommandSpec, OptionSpec } from './commands/declaration.js';

interface PlainCall {
  readonly command: CommandSpec;
  /** As commander returns them. */
  readonly values: Readonly<Record<string, unknown>>;
}

/** `undefined`: the call is not plain, or it is wrong. */
export function plainCall(commands: readonly CommandSpec[], args: readonly string[]): PlainCall | undefined {
  const command = commands.find(({ name }) => name.split(' ').every((word, index) => word === args[index]));
  if (command === undefined) return undefined;
  const given = new Map<string, unknown>();
  const texts: string[] = [];
  const words = args.slice(command.name.split(' ').length).values();
  for (const word of words) {
    if (!word.startsWith('-')) {
      texts.push(word);
      continue;
    }
    const option = command.options.find(({ flags }) => flags.split(' ')[0] === word);
    if (option === undefined || given.has(keyOf(option))) return undefined;
    const value = valueOf(option, words);
    if (value === undefined) return undefined;
    given.set(keyOf(option), value);
  }
  if (!fits(command, texts, given)) return undefined;
  return { command, values: valuesOf(command, texts, given) };
}

/** `ifMatch` for `--if-match <etag>`, as commander names it. */
const keyOf = ({ flags }: OptionSpec): string =>
  (flags.split(' ')[0] ?? flags)
    .slice(2)
    .replace(/-([a-z])/g, (_dash, letter: string) => letter.toUpperCase());

function valueOf({ flags, parse }: OptionSpec, words: Iterator<string, undefined>): unknown {
  if (!flags.includes(' ')) return true;
  const { value } = words.next();
  if (value === undefined || value.startsWith('-')) return undefined;
  try {
    return parse === undefined ? value : parse(value);
  } catch {
    return undefined;
  }
}

function fits(command: CommandSpec, texts: readonly string[], given: ReadonlyMap<string, unknown>): boolean {
  const needed = command.arguments.filter(({ optional }) => optional !== true).length;
  return (
    texts.length >= needed &&
    texts.length <= command.arguments.length &&
    command.options.every((option) => {
      if (!given.has(keyOf(option))) return option.required !== true;
      return option.conflicts === undefined || !given.has(option.conflicts);
    })
  );
}

function valuesOf(
  command: CommandSpec,
  texts: readonly string[],
  given: ReadonlyMap<string, unknown>,
): Readonly<Record<string, unknown>> {
  const defaults = command.options.flatMap((option) =>
    option.default === undefined ? [] : [[keyOf(option), option.default] as const],
  );
  const named = command.arguments.map(({ name }, index) => [name, texts[index]] as const);
  return Object.fromEntries([...named, ...defaults, ...given]);
}
