/**
 * The clock of the statements: the server's, or one given to the provider, whose time is a
 * parameter.
 */
import { SteadyTime, type Clock } from '@kvent/key-value-storage/provider';

export class TableClock {
  readonly #steady: SteadyTime | undefined;
  #last = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock | undefined) {
    this.#steady = clock === undefined ? undefined : new SteadyTime(clock);
  }

  get kind(): 'server' | 'given' {
    return this.#steady === undefined ? 'server' : 'given';
  }

  /** The last parameters of a statement: the time of a given clock, or nothing. */
  readonly parameters = (): readonly number[] => {
    if (this.#steady === undefined) return [];
    this.#last = this.#steady.now();
    return [this.#last];
  };

  /** The time that was read last is stored: no earlier time will be read again. */
  readonly stored = (): void => this.#steady?.stored(this.#last);

  /** Takes the latest time in the table, when it is opened. */
  found(time: number): void {
    this.parameters();
    this.#steady?.stored(time);
  }
}
