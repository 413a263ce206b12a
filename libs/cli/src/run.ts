/** Runs a command and returns its exit code. Everything it prints goes through `Output`. */
import type { CommandContext } from './commands/command.js';
import { Interruption } from './interruption.js';
import { failureOf } from './output/failure.js';
import { packageRanges } from './manifest.js';
import { brokenPipeExitCode, type Output } from './output/output.js';
import { ProgressLine } from './output/progress-line.js';
import type { Report } from './output/report.js';
import { commands } from './commands/table.js';
import { plainCall } from './plain-call.js';
import { UsageError } from './input/usage-error.js';
import type { Perform } from './program.js';

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
    // oxlint-disable-next-line no-restricted-properties -- once for a command
    const signal = AbortSignal.any([interruption.signal, output.brokenPipe]);
    const print = async (part: Report): Promise<boolean> => {
      progress.clear();
      if (json === true) return await output.json(part.json);
      return await output.result(...part.text);
    };
    try {
      const work = await command.load();
      const report = await (work as Work)(values, {
        signal,
        progress,
        print,
        data: output.data,
        clean: output.clean,
        packageRanges,
      });
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
  const ended = async (exitCode: number, code: string, message: string): Promise<RunResult> => {
    if (exitCode === 2 && args.includes('--json'))
      await output.json({ error: { code, message, effect: 'none' } }).catch(() => undefined);
    return { exitCode, interrupted: false };
  };
  try {
    const call = plainCall(commands, args);
    if (call === undefined) {
      const { parseCall } = await import('./program.js');
      const end = await parseCall(args, perform, output);
      // it has printed its message already
      if (end !== undefined) return await ended(end.exitCode, 'USAGE', end.message);
    } else await perform(call.command, call.values);
    return result;
  } catch (error) {
    if (!(error instanceof UsageError)) {
      output.log(`kvent: ${failureOf(error).line}`);
      return { exitCode: 1, interrupted: false };
    }
    output.log(`kvent: ${error.message}`);
    return await ended(2, error.code, error.message);
  }
}

/** The values are those that the command declares in its `CommandSpec`. */
type Work = (values: unknown, context: CommandContext) => Promise<Report>;
