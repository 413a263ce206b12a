/**
 * The items of blocks, one by one. An asynchronous generator that yields each item makes five
 * objects for it; this makes two, which was a sixth of the garbage of a read.
 */
export class FlatIterator<T> implements AsyncIterableIterator<T, undefined> {
  readonly #blocks: AsyncGenerator<readonly T[], void, undefined>;
  readonly #check: () => void;
  #block: readonly T[] = [];
  #index = 0;
  /** Settles when the calls before have ended; undefined when none is in progress. */
  #pending: Promise<void> | undefined;

  /** `check` is called before each item; what it throws ends the iteration. */
  constructor(blocks: AsyncGenerator<readonly T[], void, undefined>, check: () => void) {
    this.#blocks = blocks;
    this.#check = check;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#pending !== undefined || this.#index === this.#block.length)
      return this.#inTurn(() => this.#pull());
    try {
      return Promise.resolve(this.#take());
    } catch (error) {
      return this.throw(error);
    }
  }

  return(): Promise<IteratorResult<T, undefined>> {
    return this.#inTurn(() => this.#end());
  }

  throw(error: unknown): Promise<IteratorResult<T, undefined>> {
    return this.#inTurn(async () => {
      await this.#end();
      throw error;
    });
  }

  #take(): IteratorResult<T, undefined> {
    this.#check();
    const value = this.#block[this.#index] as T;
    this.#index += 1;
    return { done: false, value };
  }

  async #pull(): Promise<IteratorResult<T, undefined>> {
    while (this.#index === this.#block.length) {
      const { done, value } = await this.#blocks.next();
      if (done === true) return { done, value: undefined };
      this.#block = value;
      this.#index = 0;
    }
    try {
      return this.#take();
    } catch (error) {
      await this.#end();
      throw error;
    }
  }

  async #end(): Promise<IteratorResult<T, undefined>> {
    this.#block = [];
    this.#index = 0;
    await this.#blocks.return();
    return { done: true, value: undefined };
  }

  /** Runs the work once the calls before have ended, as a generator does. */
  #inTurn<R>(work: () => Promise<R>): Promise<R> {
    const turn = this.#pending === undefined ? work() : this.#pending.then(work);
    const settled = (): void => {
      if (this.#pending === ended) this.#pending = undefined;
    };
    const ended: Promise<void> = turn.then(settled, settled);
    this.#pending = ended;
    return turn;
  }
}
