/** The commands and their options, as `kvent --help` prints them. */
import { readFileSync } from 'node:fs';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { BackupCommandOptions } from './commands/backup.js';
import type { CommandContext } from './commands/command.js';
import type { CopyOptions } from './commands/copy.js';
import type { RestoreOptions } from './commands/restore.js';
import type { SalvageCommandOptions } from './commands/salvage.js';
import type { Output } from './output/output.js';
import type { Report } from './output/report.js';

/** Runs a command and prints its report or its error. */
export type Perform = (
  command: string,
  work: (context: CommandContext) => Promise<Report>,
  options: OutputOptions,
) => Promise<void>;
interface OutputOptions {
  readonly json?: boolean;
  readonly verbose?: boolean;
}

const locations =
  'A storage is a directory of JsonFileProvider or postgres://user:password@host:port/database.';

/** The messages of commander go to `output`, too, because they repeat arguments. */
export function createProgram(perform: Perform, output: Output): Command {
  const program = new Command('kvent')
    .configureOutput({
      writeOut: (text) => void output.result(...linesOf(text)),
      writeErr: (text) => output.log(...linesOf(text)),
      // an error is one line; a suggestion of commander joins it
      outputError: (text) => output.log(text.trimEnd().replace(/\n(?=\(Did you mean [^\n]*$)/, ' ')),
    })
    .description('Copies, backs up and salvages the data of Kvent storages.')
    .version(version())
    .exitOverride()
    .showHelpAfterError('(kvent <command> --help shows its options)')
    .addHelpText(
      'after',
      `\n${locations}\n\nExit codes: 0 done, 1 failed, 2 wrong arguments; cancelled: 129, 130, 143 by a signal, 141 by a closed pipe.`,
    );

  const copying = program
    .command('copy')
    .description('Copies databases to another storage, and compares both sides row by row.')
    .requiredOption('--from <storage>', 'the source, which is not changed')
    .requiredOption('--to <storage>', 'the target');
  storageOptions(targetOptions(copying))
    .option('--from-schema <name>', 'the schema of the source, if it is not that of --schema')
    .option('--from-table <name>', 'the table of the source, if it is not that of --table')
    .action(async (options: CopyOptions & OutputOptions) => {
      const { copy } = await import('./commands/copy.js');
      await perform('copy', (context) => copy(options, context), options);
    });

  const backingUp = program
    .command('backup')
    .description('Writes a storage to one file of JSON lines; each database is a snapshot of one moment.')
    .requiredOption('--from <storage>', 'the source')
    .requiredOption(
      '--to <file>',
      'a file, compressed if its name ends with .gz, or a directory, for a name with the time',
    );
  storageOptions(tenantOptions(backingUp).option('--replace', 'overwrites an existing file')).action(
    async (options: BackupCommandOptions & OutputOptions) => {
      const { backup } = await import('./commands/backup.js');
      await perform('backup', (context) => backup(options, context), options);
    },
  );

  const restoring = program
    .command('restore')
    .description('Restores a backup into a storage. A damaged backup is refused before anything is written.')
    .requiredOption('--from <file>', 'a backup')
    .requiredOption('--to <storage>', 'the target');
  storageOptions(targetOptions(restoring)).action(async (options: RestoreOptions & OutputOptions) => {
    const { restore } = await import('./commands/restore.js');
    await perform('restore', (context) => restore(options, context), options);
  });

  const salvaging = program
    .command('salvage')
    .description('Copies the readable rows of a damaged directory, and reports the damage.')
    .requiredOption(
      '--from <directory>',
      'the damaged directory; no process may use it, and it is not changed',
    )
    .requiredOption('--to <directory>', 'a new directory');
  outputOptions(salvaging).action(async (options: SalvageCommandOptions & OutputOptions) => {
    const { salvage } = await import('./commands/salvage.js');
    await perform('salvage', (context) => salvage(options, context), options);
  });
  return program;
}

const linesOf = (text: string): readonly string[] => text.replace(/\n$/, '').split('\n');

const tenantOptions = (command: Command): Command =>
  command
    .addOption(new Option('--tenant <id>', 'only this tenant').conflicts('shared'))
    .option('--shared', 'only the shared database');

const targetOptions = (command: Command): Command =>
  tenantOptions(command)
    .addOption(
      new Option(
        '--resume',
        'continues an interrupted copy: drops unfinished databases, keeps equal ones',
      ).conflicts('replace'),
    )
    .option('--replace', 'drops these databases in the target first');

const storageOptions = (command: Command): Command =>
  outputOptions(command)
    .option('--schema <name>', 'the schema in Postgres (default: that of the provider)')
    .option('--table <name>', 'the table in Postgres (default: that of the provider)')
    .option(
      '--wait <seconds>',
      'how long to wait for a directory or rows that another process has locked',
      secondsFrom,
      5,
    );

const outputOptions = (command: Command): Command =>
  command.option('--json', 'prints the report as JSON').option('--verbose', 'prints the details of an error');

function secondsFrom(given: string): number {
  if (/^\d{1,6}(\.\d+)?$/.test(given)) return Number(given);
  throw new InvalidArgumentError('It must be a number of seconds, at least 0.');
}

function version(): string {
  return (
    JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
  ).version;
}
