/** `kvent`: runs a command. The result goes to stdout, everything else to stderr. */
import { CommanderError } from 'commander';
import { Interruption } from './interruption.js';
import { failureOf } from './output/failure.js';
import { ProgressLine } from './output/progress-line.js';
import { createProgram, type Perform } from './program.js';
import { UsageError } from './usage-error.js';

const args = process.argv.slice(2);

const perform: Perform = async (command, work, { json, verbose }) => {
  const progress = new ProgressLine(process.stderr);
  using interruption = new Interruption(() => progress.note('Breaking off (once more: at once) …'));
  try {
    const report = await work({ signal: interruption.signal, progress });
    progress.clear();
    process.stdout.write(json === true ? `${JSON.stringify(report.json)}\n` : `${report.text.join('\n')}\n`);
  } catch (error) {
    progress.clear();
    if (error instanceof UsageError) throw error;
    const failure = failureOf(error, args);
    process.stderr.write(`kvent ${command}: ${failure.line}\n`);
    if (verbose === true) process.stderr.write(`${failure.story}\n`);
    if (json === true) process.stdout.write(`${JSON.stringify(failure.json)}\n`);
    process.exitCode = interruption.exitCode ?? 1;
  }
};

try {
  await createProgram(perform).parseAsync(args, { from: 'user' });
} catch (error) {
  if (error instanceof UsageError) process.stderr.write(`kvent: ${error.message}\n`);
  else if (!(error instanceof CommanderError)) throw error;
  // commander has said already what it had to say
  process.exitCode = error instanceof CommanderError && error.exitCode === 0 ? 0 : 2;
}
