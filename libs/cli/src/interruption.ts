/**
 * Ctrl+C and its like: the first one breaks the work off in order, so that locks are let go and the
 * user hears how to go on; a second one ends it.
 */

/** What shells call an end by signal. */
const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
type Signal = keyof typeof exitCodes;
const signals = Object.keys(exitCodes) as readonly Signal[];

export class Interruption implements Disposable {
  readonly #abort = new AbortController();
  readonly #heard: (signal: Signal) => void;
  #exitCode: number | undefined;

  /** `onFirst` hears of the first one, at once. */
  constructor(onFirst: () => void) {
    this.#heard = (signal) => {
      if (this.#exitCode !== undefined) process.exit(this.#exitCode);
      this.#exitCode = exitCodes[signal];
      onFirst();
      this.#abort.abort(new Error(`interrupted by ${signal}`));
    };
    for (const signal of signals) process.on(signal, this.#heard);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** How the process should end; `undefined` when nobody interrupted it. */
  get exitCode(): number | undefined {
    return this.#exitCode;
  }

  [Symbol.dispose](): void {
    for (const signal of signals) process.off(signal, this.#heard);
  }
}
