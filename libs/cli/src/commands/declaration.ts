/** What the table of commands says about a command. */
import type { Report } from '../output/report.js';
import type { CommandContext } from './command.js';

/** The arguments and options of a call, by name, as its `CommandSpec` declares them. */
type Command = (options: never, context: CommandContext) => Promise<Report>;

export interface ArgumentSpec {
  readonly name: string;
  readonly text: string;
  /** @default false */
  readonly optional?: boolean;
}

export interface OptionSpec {
  /** `--limit <rows>`; without a value it is a switch. */
  readonly flags: string;
  readonly text: string;
  /** @default false */
  readonly required?: boolean;
  /** The name of an option that must not be given too. */
  readonly conflicts?: string;
  readonly default?: string | number;
  /** Throws `UsageError` for a value that is not allowed. @default the text itself */
  readonly parse?: (text: string) => unknown;
}

export interface CommandSpec {
  /** One word, or two: `stream ls`. */
  readonly name: string;
  readonly summary: string;
  readonly arguments: readonly ArgumentSpec[];
  readonly options: readonly OptionSpec[];
  /** Whether it changes a storage or writes a file. */
  readonly writes: boolean;
  readonly example: string;
  /** Whether Ctrl+C is its usual end, and no failure. @default false */
  readonly endless?: boolean;
  readonly load: () => Promise<Command>;
}
