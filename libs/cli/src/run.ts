/** Runs a command and returns its exit code. Everything it prints goes through `Output`. */
import { CommanderError } from 'commander';
import { Interruption } from './interruption.js';
import { failureOf } from './output/failure.js';
import { brokenPipeExitCode, type Output } from './output/output.js';
import { ProgressLine } from './output/progress-line.js';
import { createProgram, type Perform } from './program.js';
import { UsageError } from './input/usage-error.js';

interface RunResult {
  readonly exitCode: number;
  /**
   * Whether it was cancelled. Work that cannot be cancelled, such as waiting for a lock, may
   * continue.
   */
  readonly interrupted: boolean;
}

export async function run(args: readonly string[], output: Output): Promise<RunResult> {
  let result: RunResult = { exitCode: 0, interrupted: false };
  const perform: Perform = async (command, work, { json, verbose }) => {
    const progress = new ProgressLine(output.stderr, { clean: output.clean });
    using interruption = new Interruption(() => progress.note('Cancelling (press again to end at once) …'));
    const signal = AbortSignal.any([interruption.signal, output.brokenPipe]);
    try {
      const report = await work({ signal, progress });
      progress.clear();
      if (json === true) await output.json(report.json);
      else await output.result(...report.text);
    } catch (error) {
      progress.clear();
      if (error instanceof UsageError) throw error;
      const failure = failureOf(error);
      output.log(`kvent ${command}: ${failure.line}`, ...(verbose === true ? failure.details : []));
      const exitCode = interruption.exitCode ?? (output.brokenPipe.aborted ? brokenPipeExitCode : 1);
      result = { exitCode, interrupted: signal.aborted };
      // if even that cannot be written, the exit code remains
      if (json === true) await output.json(failure.json).catch(() => undefined);
    }
  };
  try {
    await createProgram(perform, output).parseAsync(args, { from: 'user' });
    return result;
  } catch (error) {
    // commander has printed its message already
    if (error instanceof CommanderError)
      return { exitCode: error.exitCode === 0 ? 0 : 2, interrupted: false };
    if (error instanceof UsageError) output.log(`kvent: ${error.message}`);
    else output.log(`kvent: ${failureOf(error).line}`);
    return { exitCode: error instanceof UsageError ? 2 : 1, interrupted: false };
  }
}
