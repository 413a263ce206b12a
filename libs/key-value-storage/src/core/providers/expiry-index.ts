/**
 * Addresses of the rows of a table that expire, by the millisecond of their expiry. Rows of one
 * millisecond share an entry of the ordered map: with an entry for each row, it took a quarter of
 * the time of a write that expires.
 */
import type { Row, RowAddress } from '../port/storage-provider.js';
import { SortedMap } from './sorted-map.js';

/**
 * By their keys. Rows of several spaces may have one key, but few do: a list for each address was a
 * seventh of the memory of an idempotency record.
 */
type Addresses = Map<string, RowAddress | readonly RowAddress[]>;

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
      for (const those of addresses.values()) yield* listOf(those);
  }

  #add(time: number, address: RowAddress): void {
    let addresses = this.#byTime.get(time);
    if (addresses === undefined) {
      addresses = new Map();
      this.#byTime.set(time, addresses);
      this.#ordered.set(textOf(time), addresses);
    }
    const those = addresses.get(address.key);
    addresses.set(address.key, those === undefined ? address : [...listOf(those), address]);
  }

  #delete(time: number, address: RowAddress): void {
    const addresses = this.#byTime.get(time);
    const those = addresses?.get(address.key);
    if (addresses === undefined || those === undefined) return;
    const { container, entity } = address;
    const others = listOf(those).filter((each) => each.entity !== entity || each.container !== container);
    if (others.length === 0) addresses.delete(address.key);
    else addresses.set(address.key, others);
    if (addresses.size > 0) return;
    this.#byTime.delete(time);
    this.#ordered.delete(textOf(time));
  }
}

const listOf = (those: RowAddress | readonly RowAddress[]): readonly RowAddress[] =>
  'key' in those ? [those] : those;

const timeOf = (expiresAt: number): number => Math.max(0, Math.floor(expiresAt));

/** With leading zeros, so that the texts are in the order of the numbers. */
const textOf = (time: number): string => String(time).padStart(20, '0');
