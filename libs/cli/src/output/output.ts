/**
 * All output of a command: the result to stdout, everything else to stderr. It hides passwords in
 * messages, prints stored data as it is, and escapes characters that would end a line or move the
 * cursor. A closed pipe (`kvent … | head`) is not an error of the process: the command is
 * cancelled.
 */
import { hideInReport } from './hide-in-report.js';
import type { Line } from './report.js';
import { printable } from '@kvent/key-value-storage/internal/rows';

/** stdout, stderr, or a substitute. */
export interface OutputStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string, done?: (error?: Error | null) => void): unknown;
  on(event: 'error', listener: (error: NodeJS.ErrnoException) => void): unknown;
}

/** The exit code of shells for SIGPIPE. */
export const brokenPipeExitCode = 141;

export class Output {
  readonly stderr: OutputStream;
  readonly #stdout: OutputStream;
  readonly #hide: (text: string) => string;
  readonly #colors: boolean;
  readonly #brokenPipe = new AbortController();

  /** `env`: for `NO_COLOR` and `TERM`. */
  constructor(
    stdout: OutputStream,
    stderr: OutputStream,
    hide: (text: string) => string,
    env: Readonly<Record<string, string | undefined>> = {},
  ) {
    this.#stdout = stdout;
    this.stderr = stderr;
    this.#hide = hide;
    this.#colors = stdout.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
    // without a listener an error event would end the process
    stdout.on('error', () => undefined);
    stderr.on('error', () => this.#brokenPipe.abort(new Error('stderr is closed')));
  }

  /** Aborted when stderr is closed. */
  get brokenPipe(): AbortSignal {
    return this.#brokenPipe.signal;
  }

  /** Text as one line without passwords. */
  readonly clean = (text: string): string => printable(this.#hide(text));

  /** Prints lines to stderr. */
  log(...lines: readonly string[]): void {
    this.stderr.write(lines.map((line) => `${this.clean(line)}\n`).join(''));
  }

  /**
   * Prints the result to stdout, and returns whether its reader is still there. Rejects if it
   * cannot be written; a closed pipe is not a failure.
   */
  async result(...lines: readonly Line[]): Promise<boolean> {
    return await this.#write(lines.map((line) => `${this.#styled(line)}\n`).join(''));
  }

  /** Prints a part of the result as one line of JSON. */
  async json(value: object | undefined): Promise<boolean> {
    if (value === undefined) return true;
    return await this.#write(`${printable(JSON.stringify(hideInReport(value, this.#hide)))}\n`);
  }

  /** Writes lines of data to stdout, unchanged; on a terminal without control characters. */
  readonly data = async (lines: string): Promise<boolean> => {
    const isTerminal = this.#stdout.isTTY === true;
    return await this.#write(isTerminal ? lines.split(/\r?\n/).map(printable).join('\n') : lines);
  };

  #styled(line: Line): string {
    if (typeof line === 'string') return this.clean(line);
    const text = line.isData === true ? printable(line.text) : this.clean(line.text);
    return this.#colors && line.style !== undefined ? `\u001b[${styles[line.style]}m${text}\u001b[0m` : text;
  }

  #write(text: string): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#stdout.write(text, (error) => {
        if (error === undefined || error === null) resolve(true);
        else if (isBrokenPipe(error)) resolve(false);
        else reject(error);
      });
    });
  }
}

/** Select Graphic Rendition: bold, green, red. */
const styles = { heading: 1, good: 32, bad: 31 } as const;

const isBrokenPipe = (error: NodeJS.ErrnoException): boolean =>
  error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED';
