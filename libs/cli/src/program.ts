/** The commands and their options as a parser, made of the table of commands. */
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import type { ArgumentSpec, CommandSpec, OptionSpec } from './commands/declaration.js';
import { commands } from './commands/table.js';
import { manifest } from './manifest.js';
import { UsageError } from './input/usage-error.js';
import type { Output } from './output/output.js';
import { dataLine } from './output/report.js';

/** The values of a call, by name. */
type Values = Readonly<Record<string, unknown>>;

/** Runs a command and prints its report or its error. */
export type Perform = (command: CommandSpec, values: Values) => Promise<void>;

const locations =
  'A storage is a directory of JsonFileProvider or postgres://user:password@host:port/database.';

/**
 * Performs the command of these arguments. Without one, prints a help, the version or what is
 * wrong, and returns how the process ends.
 */
export async function parseCall(
  args: readonly string[],
  perform: Perform,
  output: Output,
): Promise<{ readonly exitCode: number; readonly message: string } | undefined> {
  try {
    await createProgram(perform, output).parseAsync(args, { from: 'user' });
    return undefined;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return { exitCode: error.exitCode === 0 ? 0 : 2, message: error.message };
  }
}

/** The messages of commander go to `output`, too, because its errors repeat arguments. */
function createProgram(perform: Perform, output: Output): Command {
  const program = new Command('kvent')
    .configureOutput({
      // the help and the version repeat no argument
      writeOut: (text) => void output.result(...linesOf(text).map(dataLine)),
      writeErr: (text) => output.log(...linesOf(text)),
      // an error is one line; a suggestion of commander joins it
      outputError: (text) => output.log(text.trimEnd().replace(/\n(?=\(Did you mean [^\n]*$)/, ' ')),
    })
    .description('Reads, changes, copies, backs up and salvages the data of Kvent storages.')
    .version(manifest().version)
    .exitOverride()
    .showHelpAfterError('(kvent <command> --help shows its options)')
    .addHelpText(
      'after',
      `\n${locations}\n\nExit codes: 0 done, 1 failed, 2 wrong arguments; cancelled: 129, 130, 143 by a signal, 141 by a closed pipe.`,
    );
  const groups = new Map<string, Command>();
  for (const command of commands) {
    const [group, name] = command.name.split(' ') as [string, string?];
    if (name === undefined) addCommand(program, group, command, perform);
    else addCommand(groupIn(program, groups, group), name, command, perform);
  }
  return program;
}

function groupIn(program: Command, groups: Map<string, Command>, name: string): Command {
  let group = groups.get(name);
  if (group === undefined) {
    const names = commands.flatMap((each) => (each.name.startsWith(`${name} `) ? [each.name] : []));
    group = program.command(name).description(`The commands ${names.join(', ')}.`);
    groups.set(name, group);
  }
  return group;
}

function addCommand(parent: Command, name: string, spec: CommandSpec, perform: Perform): void {
  const command = parent.command(name).description(spec.summary);
  for (const argument of spec.arguments) command.addArgument(argumentOf(argument));
  for (const option of spec.options) command.addOption(optionOf(option));
  command.addHelpText('after', `\nExample: ${spec.example}`).action(async () => {
    const given = spec.arguments.map(({ name: argument }, index) => [argument, command.args[index]] as const);
    const named: Values = Object.fromEntries(given);
    await perform(spec, { ...named, ...command.opts<Values>() });
  });
}

const argumentOf = ({ name, text, optional }: ArgumentSpec): Argument =>
  new Argument(optional === true ? `[${name}]` : `<${name}>`, text);

function optionOf({ flags, text, required, conflicts, default: byDefault, parse }: OptionSpec): Option {
  const option = new Option(flags, text).makeOptionMandatory(required === true);
  if (conflicts !== undefined) option.conflicts(conflicts);
  if (byDefault !== undefined) option.default(byDefault);
  if (parse !== undefined) option.argParser((value) => parsed(parse, value));
  return option;
}

function parsed(parse: (text: string) => unknown, text: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    throw error instanceof UsageError ? new InvalidArgumentError(error.message) : error;
  }
}

const linesOf = (text: string): readonly string[] => text.replace(/\n$/, '').split('\n');
