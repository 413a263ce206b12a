/**
 * Waiting for rows that somebody's open transaction holds. Each such wait keeps a connection, so
 * only a part of the pool may be spent on it: a long transaction of one tenant holds up who wants
 * its rows, and nobody else.
 */
export class Patience {
  readonly #placesMax: number;
  #taken = 0;
  readonly #queue: (() => void)[] = [];

  constructor(placesMax: number) {
    this.#placesMax = placesMax;
  }

  /** Does the work once there is a place for it. */
  async run<R>(work: () => Promise<R>): Promise<R> {
    if (this.#taken >= this.#placesMax) await new Promise<void>((resolve) => this.#queue.push(resolve));
    else this.#taken += 1;
    try {
      return await work();
    } finally {
      const next = this.#queue.shift();
      if (next === undefined) this.#taken -= 1;
      else next();
    }
  }
}
