/** Hints of providers whose rows change in this process only: commits report what they changed. */
import type { Hint, RowAddress, Space } from '../port/storage-provider.js';

const nameOf = ({ database, container, entity }: Space): string => `${database}\0${container}\0${entity}`;

export class HintSource {
  readonly #listeners = new Set<Listener>();

  get hasListeners(): boolean {
    return this.#listeners.size > 0;
  }

  /** Notifies the listeners of the rows' spaces. */
  changed(database: string, addresses: readonly RowAddress[]): void {
    if (this.#listeners.size === 0) return;
    for (const { container, entity, key } of addresses) {
      const space = { database, container, entity };
      for (const listener of this.#listeners) listener.notify({ space, key });
    }
  }

  /** Hints of these spaces from this call on, until the signal or `end`. */
  listen(spaces: readonly Space[], signal: AbortSignal): AsyncIterable<Hint> {
    const listener = new Listener(new Set(spaces.map(nameOf)));
    const leave = (): void => {
      this.#listeners.delete(listener);
      listener.end();
    };
    if (signal.aborted) listener.end();
    else {
      this.#listeners.add(listener);
      signal.addEventListener('abort', leave, { once: true });
    }
    return listener.read(() => {
      signal.removeEventListener('abort', leave);
      leave();
    });
  }

  /** Ends every listener when the provider closes. */
  end(): void {
    for (const listener of this.#listeners) listener.end();
    this.#listeners.clear();
  }
}

class Listener {
  readonly #spaces: ReadonlySet<string>;
  /** One for each space, so that a slow reader stays small; of several keys none is kept. */
  readonly #pending = new Map<string, Hint>();
  #wake: (() => void) | undefined;
  #ended = false;

  constructor(spaces: ReadonlySet<string>) {
    this.#spaces = spaces;
  }

  notify(hint: Hint): void {
    const name = nameOf(hint.space);
    if (!this.#spaces.has(name)) return;
    const before = this.#pending.get(name);
    this.#pending.set(name, before === undefined || before.key === hint.key ? hint : { space: hint.space });
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *read(leave: () => void): AsyncGenerator<Hint> {
    try {
      while (true) {
        for (const [name, hint] of this.#pending) {
          this.#pending.delete(name);
          yield hint;
        }
        if (this.#ended) return;
        if (this.#pending.size === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      leave();
    }
  }
}
