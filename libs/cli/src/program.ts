/** The commands and their options, as `kvent --help` tells them. */
import { readFileSync } from 'node:fs';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { BackupCommandOptions } from './commands/backup.js';
import type { CommandContext } from './commands/command.js';
import type { CopyOptions } from './commands/copy.js';
import type { RestoreOptions } from './commands/restore.js';
import type { SalvageCommandOptions } from './commands/salvage.js';
import type { Output } from './output/output.js';
import type { Report } from './output/report.js';

/** Does the work of a command, and tells how it went. */
export type Perform = (
  command: string,
  work: (context: CommandContext) => Promise<Report>,
  options: OutputOptions,
) => Promise<void>;
interface OutputOptions {
  readonly json?: boolean;
  readonly verbose?: boolean;
}

const places =
  'A storage is a directory of JsonFileProvider, or postgres://user:password@host:port/database.';

/** `output`: what commander itself has to say goes there too, for it repeats what it was given. */
export function createProgram(perform: Perform, output: Output): Command {
  const program = new Command('kvent')
    .configureOutput({
      writeOut: (text) => void output.result(...linesOf(text)),
      writeErr: (text) => output.tell(...linesOf(text)),
      // an error is one line, whatever was given; its second line is commander's own
      outputError: (text) => output.tell(text.trimEnd().replace(/\n(?=\(Did you mean [^\n]*$)/, ' ')),
    })
    .description('Moves, backs up and rescues the data of Kvent storages.')
    .version(version())
    .exitOverride()
    .showHelpAfterError('(kvent <command> --help tells what it takes)')
    .addHelpText(
      'after',
      `\n${places}\n\nExit codes: 0 done, 1 failed, 2 not called as it can be; broken off in order: 129, 130, 143 by a signal, 141 by a reader that left.`,
    );

  const copying = program
    .command('copy')
    .description('Copies databases to another storage, and compares both sides row by row.')
    .requiredOption('--from <storage>', 'what is copied; it stays as it is')
    .requiredOption('--to <storage>', 'where to');
  storageOptions(targetOptions(copying))
    .option('--from-schema <name>', "the source's schema, if it has another one than --schema")
    .option('--from-table <name>', "the source's table, if it has another one than --table")
    .action(async (options: CopyOptions & OutputOptions) => {
      const { copy } = await import('./commands/copy.js');
      await perform('copy', (context) => copy(options, context), options);
    });

  const backingUp = program
    .command('backup')
    .description('Writes a storage to one file: lines of JSON, each database as of one moment.')
    .requiredOption('--from <storage>', 'what is backed up')
    .requiredOption(
      '--to <file>',
      'a file, zipped if it ends with .gz; or a directory, for a name with the time',
    );
  storageOptions(choice(backingUp).option('--replace', 'writes over a file that is there')).action(
    async (options: BackupCommandOptions & OutputOptions) => {
      const { backup } = await import('./commands/backup.js');
      await perform('backup', (context) => backup(options, context), options);
    },
  );

  const restoring = program
    .command('restore')
    .description('Puts a backup into a storage. A damaged one is refused before anything is written.')
    .requiredOption('--from <file>', 'a backup')
    .requiredOption('--to <storage>', 'where to');
  storageOptions(targetOptions(restoring)).action(async (options: RestoreOptions & OutputOptions) => {
    const { restore } = await import('./commands/restore.js');
    await perform('restore', (context) => restore(options, context), options);
  });

  const salvaging = program
    .command('salvage')
    .description('Copies what is readable of a damaged directory, and tells what is not.')
    .requiredOption(
      '--from <directory>',
      'what is damaged; no process may have it open, and nothing in it is changed',
    )
    .requiredOption('--to <directory>', 'a new directory');
  outputOptions(salvaging).action(async (options: SalvageCommandOptions & OutputOptions) => {
    const { salvage } = await import('./commands/salvage.js');
    await perform('salvage', (context) => salvage(options, context), options);
  });
  return program;
}

const linesOf = (text: string): readonly string[] => text.replace(/\n$/, '').split('\n');

const choice = (command: Command): Command =>
  command
    .addOption(new Option('--tenant <id>', 'only this tenant').conflicts('shared'))
    .option('--shared', 'only what belongs to no tenant');

const targetOptions = (command: Command): Command =>
  choice(command)
    .addOption(
      new Option(
        '--resume',
        'begins again after a copy was broken off: drops what it left, and keeps what is the same already',
      ).conflicts('replace'),
    )
    .option('--replace', 'drops whatever the target holds of these databases');

const storageOptions = (command: Command): Command =>
  outputOptions(command)
    .option('--schema <name>', "the schema in Postgres (default: the provider's)")
    .option('--table <name>', "the table in Postgres (default: the provider's)")
    .option(
      '--wait <seconds>',
      'how long to wait for a directory that another process has open, or for rows that others hold',
      secondsFrom,
      5,
    );

const outputOptions = (command: Command): Command =>
  command
    .option('--json', 'prints the report as JSON')
    .option('--verbose', 'tells of an error all there is to know');

function secondsFrom(given: string): number {
  if (/^\d{1,6}(\.\d+)?$/.test(given)) return Number(given);
  throw new InvalidArgumentError('It is a number of seconds from 0 up.');
}

function version(): string {
  return (
    JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
  ).version;
}
