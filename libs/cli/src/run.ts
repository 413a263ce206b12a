/** Runs a command and returns its exit code. Everything it prints goes through `Output`. */
import { CommanderError } from 'commander';
import type { CommandContext } from './commands/command.js';
import { Interruption } from './interruption.js';
import { failureOf } from './output/failure.js';
import { packageRanges } from './manifest.js';
import { brokenPipeExitCode, type Output } from './output/output.js';
import { ProgressLine } from './output/progress-line.js';
import type { Report } from './output/report.js';
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
  const perform: Perform = async (command, values) => {
    const { json, verbose } = values;
    const progress = new ProgressLine(output.stderr, { clean: output.clean });
    using interruption = new Interruption(() => {
      if (command.endless !== true) progress.note('Cancelling (press again to end at once) …');
    });
    const signal = AbortSignal.any([interruption.signal, output.brokenPipe]);
    const print = async (part: Report): Promise<boolean> => {
      progress.clear();
      if (json === true) return await output.json(part.json);
      return await output.result(...part.text);
    };
    try {
      const work = await command.load();
      const report = await (work as Work)(values, { signal, progress, print, packageRanges });
      await print(report);
      if (report.failed === true) result = { exitCode: 1, interrupted: false };
    } catch (error) {
      progress.clear();
      if (error instanceof UsageError) throw error;
      const failure = failureOf(error);
      output.log(`kvent ${command.name}: ${failure.line}`, ...(verbose === true ? failure.details : []));
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
    const exitCode = exitCodeOf(error);
    // commander has printed its message already
    if (error instanceof UsageError) output.log(`kvent: ${error.message}`);
    else if (!(error instanceof CommanderError)) output.log(`kvent: ${failureOf(error).line}`);
    if (exitCode === 2 && args.includes('--json'))
      await output.json(wrongUsage(error)).catch(() => undefined);
    return { exitCode, interrupted: false };
  }
}

/** The values are those that the command declares in its `CommandSpec`. */
type Work = (values: unknown, context: CommandContext) => Promise<Report>;

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  return error instanceof UsageError ? 2 : 1;
}

function wrongUsage(error: unknown): object {
  const code = error instanceof UsageError ? error.code : 'USAGE';
  const message = error instanceof Error ? error.message : String(error);
  return { error: { code, message, effect: 'none' } };
}
