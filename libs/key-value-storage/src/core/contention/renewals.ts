/**
 * Renewals of sliding expiries within one process: of all concurrent readers of a row, one renews
 * it and the others share the result. The last renewal is remembered, so that a reader that read
 * the row before it does not renew it again.
 */
import type { Version } from '../port/storage-provider.js';

/** Rows whose last renewal is remembered. A row that is forgotten may be renewed once too often. */
const rememberedMax = 1_000;

/** When a row was renewed, by the provider's clock, and its expiry since. */
export interface Renewed {
  readonly at: number;
  readonly expiresAt: number;
}

interface Renewal {
  readonly version: Version;
  /** Undefined where the row was not renewed. */
  readonly done: Promise<Renewed | undefined>;
  renewed?: Renewed;
}

export class Renewals {
  readonly #last = new Map<string, Renewal>();

  /**
   * The expiry of a row after its renewal, or `undefined` when it was not renewed. `name`: of the
   * row. `readAt`: when the row was read, by the provider's clock. `renew` runs only where no other
   * call is renewing this version of the row, or has renewed it since; it must not reject.
   */
  async once(
    name: string,
    version: Version,
    readAt: number,
    renew: () => Promise<Renewed | undefined>,
  ): Promise<number | undefined> {
    const last = this.#last.get(name);
    if (last?.version === version && (last.renewed === undefined || readAt <= last.renewed.at))
      return (await last.done)?.expiresAt;
    const renewal: Renewal = { version, done: renew() };
    this.#remember(name, renewal);
    const renewed = await renewal.done;
    if (renewed !== undefined) renewal.renewed = renewed;
    else if (this.#last.get(name) === renewal) this.#last.delete(name);
    return renewed?.expiresAt;
  }

  #remember(name: string, renewal: Renewal): void {
    this.#last.delete(name);
    this.#last.set(name, renewal);
    const [oldest] = this.#last.keys();
    if (oldest !== undefined && this.#last.size > rememberedMax) this.#last.delete(oldest);
  }
}
