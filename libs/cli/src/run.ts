/** Runs a command and returns its exit code. Everything it prints goes through `Output`. */
import { CommanderError } from 'commander';
import { Interruption } from './interruption.js';
import { failureOf } from './output/failure.js';
import { readerLeftExitCode, type Output } from './output/output.js';
import { ProgressLine } from './output/progress-line.js';
import { createProgram, type Perform } from './program.js';
import { UsageError } from './input/usage-error.js';

interface Ending {
  readonly exitCode: number;
  /**
   * It was broken off: work that cannot be broken off, as waiting for a lock, may go on behind it.
   */
  readonly brokenOff: boolean;
}

export async function run(args: readonly string[], output: Output): Promise<Ending> {
  let ending: Ending = { exitCode: 0, brokenOff: false };
  const perform: Perform = async (command, work, { json, verbose }) => {
    const progress = new ProgressLine(output.stderr, { clean: output.clean });
    using interruption = new Interruption(() => progress.note('Breaking off (once more: at once) …'));
    const signal = AbortSignal.any([interruption.signal, output.readerLeft]);
    try {
      const report = await work({ signal, progress });
      progress.clear();
      if (json === true) await output.json(report.json);
      else await output.result(...report.text);
    } catch (error) {
      progress.clear();
      if (error instanceof UsageError) throw error;
      const failure = failureOf(error);
      output.tell(`kvent ${command}: ${failure.line}`, ...(verbose === true ? failure.story : []));
      const exitCode = interruption.exitCode ?? (output.readerLeft.aborted ? readerLeftExitCode : 1);
      ending = { exitCode, brokenOff: signal.aborted };
      // where even that cannot be written, the exit code tells it
      if (json === true) await output.json(failure.json).catch(() => undefined);
    }
  };
  try {
    await createProgram(perform, output).parseAsync(args, { from: 'user' });
    return ending;
  } catch (error) {
    // commander has said already what it had to say
    if (error instanceof CommanderError) return { exitCode: error.exitCode === 0 ? 0 : 2, brokenOff: false };
    if (error instanceof UsageError) output.tell(`kvent: ${error.message}`);
    else output.tell(`kvent: ${failureOf(error).line}`);
    return { exitCode: error instanceof UsageError ? 2 : 1, brokenOff: false };
  }
}
