/**
 * The time that statements go by: the database's own, or that of a clock the provider was given,
 * which then travels as their last parameter.
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

  /** Something was stored with the time read last: no time before it will be read again. */
  readonly stored = (): void => this.#steady?.stored(this.#last);

  /** A time was found stored when the table was opened. */
  found(time: number): void {
    this.parameters();
    this.#steady?.stored(time);
  }
}
