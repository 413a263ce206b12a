/**
 * Addresses of the rows of a table that expire, by the millisecond of their expiry. Rows of one
 * millisecond share an entry of the ordered map: with an entry for each row, it took a quarter of
 * the time of a write that expires.
 */
import type { Row, RowAddress } from '../port/storage-provider.js';
import { SortedMap } from './sorted-map.js';

/** By their keys: rows of several spaces may have one key. */
type Addresses = Map<string, RowAddress[]>;

export class ExpiryIndex {
  readonly #byTime = new Map<number, Addresses>();
  /** The same, in order. */
  readonly #ordered = new SortedMap<Addresses>();

  /** A row of the table is replaced by another; `undefined`: there is none. */
  replace(address: RowAddress, before: Row | undefined, after: Row | undefined): void {
    if (before?.expiresAt === after?.expiresAt) return;
    if (before?.expiresAt !== undefined) this.#delete(timeOf(before.expiresAt), address);
    if (after?.expiresAt !== undefined) this.#add(timeOf(after.expiresAt), address);
  }

  /** In the order of their milliseconds. The index must not change while it is read. */
  *ascending(): Generator<RowAddress> {
    for (const [, addresses] of this.#ordered.ascending())
      for (const those of addresses.values()) yield* those;
  }

  #add(time: number, address: RowAddress): void {
    let addresses = this.#byTime.get(time);
    if (addresses === undefined) {
      addresses = new Map();
      this.#byTime.set(time, addresses);
      this.#ordered.set(textOf(time), addresses);
    }
    const those = addresses.get(address.key);
    if (those === undefined) addresses.set(address.key, [address]);
    else those.push(address);
  }

  #delete(time: number, address: RowAddress): void {
    const addresses = this.#byTime.get(time);
    const those = addresses?.get(address.key);
    if (addresses === undefined || those === undefined) return;
    const { container, entity } = address;
    const index = those.findIndex((each) => each.entity === entity && each.container === container);
    if (index >= 0) those.splice(index, 1);
    if (those.length === 0) addresses.delete(address.key);
    if (addresses.size > 0) return;
    this.#byTime.delete(time);
    this.#ordered.delete(textOf(time));
  }
}

const timeOf = (expiresAt: number): number => Math.max(0, Math.floor(expiresAt));

/** With leading zeros, so that the texts are in the order of the numbers. */
const textOf = (time: number): string => String(time).padStart(20, '0');
