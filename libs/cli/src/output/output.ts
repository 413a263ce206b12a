/**
 * The one way to the terminal: the result to stdout, everything else to stderr. What goes through
 * it holds no password, and no character that would end a line or move the cursor. A reader that
 * has gone away (`kvent … | head`) is not an error of the process: the command ends in order.
 */
import { printable } from '@kvent/key-value-storage/internal';

/** stdout or stderr, or what stands in for it. */
export interface OutputStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string, done?: (error?: Error | null) => void): unknown;
  on(event: 'error', listener: (error: NodeJS.ErrnoException) => void): unknown;
}

/** As shells name the end by SIGPIPE. */
export const readerLeftExitCode = 141;

export class Output {
  readonly stderr: OutputStream;
  readonly #stdout: OutputStream;
  readonly #hide: (text: string) => string;
  readonly #left = new AbortController();

  constructor(stdout: OutputStream, stderr: OutputStream, hide: (text: string) => string) {
    this.#stdout = stdout;
    this.stderr = stderr;
    this.#hide = hide;
    // without a listener each of them would end the process with a stack
    stdout.on('error', () => undefined);
    stderr.on('error', () => this.#left.abort(new Error('nobody reads what it says any more')));
  }

  /** Aborted when nobody reads stderr any more. */
  get readerLeft(): AbortSignal {
    return this.#left.signal;
  }

  /** One line of text as it may be shown. */
  readonly clean = (text: string): string => printable(this.#hide(text));

  /** Lines to stderr. */
  tell(...lines: readonly string[]): void {
    this.stderr.write(lines.map((line) => `${this.clean(line)}\n`).join(''));
  }

  /**
   * Lines to stdout: the result. Rejects where they cannot be written; that nobody reads them is no
   * failure.
   */
  async result(...lines: readonly string[]): Promise<void> {
    await this.#write(lines.map((line) => `${this.clean(line)}\n`).join(''));
  }

  /** The result as one line of JSON. */
  async json(value: object): Promise<void> {
    await this.#write(
      `${printable(JSON.stringify(value, (_name, each: unknown) => (typeof each === 'string' ? this.#hide(each) : each)))}\n`,
    );
  }

  #write(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#stdout.write(text, (error) => {
        if (error === undefined || error === null || isReaderLeft(error)) resolve();
        else reject(error);
      });
    });
  }
}

const isReaderLeft = (error: NodeJS.ErrnoException): boolean =>
  error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED';
