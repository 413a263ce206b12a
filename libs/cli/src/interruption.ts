/**
 * Signals such as Ctrl+C: the first one cancels the command, so that locks are released and the
 * user learns how to continue; the second one ends the process.
 */

/** The exit codes of shells for an end by signal. */
const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
type Signal = keyof typeof exitCodes;
const signals = Object.keys(exitCodes) as readonly Signal[];

export class Interruption implements Disposable {
  readonly #abort = new AbortController();
  readonly #onSignal: (signal: Signal) => void;
  #exitCode: number | undefined;

  /** `onFirst` is called for the first signal. */
  constructor(onFirst: () => void) {
    this.#onSignal = (signal) => {
      if (this.#exitCode !== undefined) process.exit(this.#exitCode);
      this.#exitCode = exitCodes[signal];
      onFirst();
      this.#abort.abort(new Error(`interrupted by ${signal}`));
    };
    for (const signal of signals) process.on(signal, this.#onSignal);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** The exit code of the process; `undefined` without a signal. */
  get exitCode(): number | undefined {
    return this.#exitCode;
  }

  [Symbol.dispose](): void {
    for (const signal of signals) process.off(signal, this.#onSignal);
  }
}
