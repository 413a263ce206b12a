/** The `CounterStore` of users; `CounterWrites` commits its changes. */
import { assertAtMost } from '../base/assert-limits.js';
import { inspect } from '../base/inspect.js';
import type { Key, KeyRange } from '../base/key.js';
import { assertOptions, invalidOption } from '../base/options.js';
import type { StorageAccess } from '../commit/storage-access.js';
import type { ResolvedCounter } from './counter-definition.js';
import { CounterRows, type CounterVerb } from './counter-rows.js';
import { CounterWrites } from './counter-writes.js';
import { CounterStore, type CounterEntry, type CounterWriteOptions } from './counter-store.js';
import type { CallOptions, IdempotentOptions, ReadOptions } from './call-options.js';
import { RangeReader } from './range-reader.js';
import { databaseOf } from './tenant.js';

const readNames = ['signal', 'consistency'];

/** On a store of counters: its rows, for batches. */
export const counterRows = Symbol('kvent.counter-rows');

export class TypedCounterStore<N extends number | bigint, K extends Key = Key> extends CounterStore<N, K> {
  readonly [counterRows]: CounterRows<N, K>;
  readonly #rows: CounterRows<N, K>;
  readonly #writes: CounterWrites<N, K>;
  readonly #ranges: RangeReader<CounterEntry<N, K>, K>;

  constructor(access: StorageAccess, definition: ResolvedCounter, database: () => string) {
    super();
    this.#rows = new CounterRows(access, definition, database);
    this.#writes = new CounterWrites(this.#rows);
    this.#ranges = new RangeReader(this.#rows);
    this[counterRows] = this.#rows;
  }

  async get(key: K, options?: ReadOptions): Promise<N> {
    assertOptions('get', options, readNames);
    const address = this.#rows.address(key);
    const { row } = await this.#rows.access.readOne(address, options);
    return this.#rows.read(address, row);
  }

  async getMany<const Keys extends readonly K[]>(
    keys: Keys,
    options?: ReadOptions,
  ): Promise<{ readonly [Index in keyof Keys]: N }> {
    assertOptions('getMany', options, readNames);
    if (!Array.isArray(keys)) throw invalidOption(`getMany: keys must be an array; got ${inspect(keys)}.`);
    assertAtMost('readAddressesMax', keys.length, 'keys in one getMany');
    const database = this.#rows.database();
    const addresses = keys.map((key) => this.#rows.address(key, database));
    const { rows } = await this.#rows.access.read(addresses, options);
    return addresses.map((address, index) => this.#rows.read(address, rows[index])) as {
      readonly [Index in keyof Keys]: N;
    };
  }

  increment(key: K, by?: N, options?: CounterWriteOptions): Promise<N> {
    return this.#change('increment', key, by, options);
  }

  decrement(key: K, by?: N, options?: CounterWriteOptions): Promise<N> {
    return this.#change('decrement', key, by, options);
  }

  raiseTo(key: K, atLeast: N, options?: CounterWriteOptions): Promise<N> {
    return this.#change('raiseTo', key, atLeast, options);
  }

  lowerTo(key: K, atMost: N, options?: CounterWriteOptions): Promise<N> {
    return this.#change('lowerTo', key, atMost, options);
  }

  async reset(key: K, options?: CallOptions & IdempotentOptions): Promise<void> {
    const address = this.#rows.address(key);
    await this.#writes.reset(address, [address], options);
  }

  list(range: KeyRange<K> = {}, options?: ReadOptions): AsyncIterable<CounterEntry<N, K>> {
    assertOptions('list', options, readNames);
    return this.#ranges.entries(range, options);
  }

  forTenant(tenant: string): CounterStore<N, K> {
    const { access, definition } = this.#rows;
    const database = databaseOf(tenant);
    if (definition.scope === 'shared')
      throw invalidOption(`The counter '${definition.name}' is shared: it has no tenants.`);
    return new TypedCounterStore(access, definition, () => database);
  }

  within(transaction: object): CounterStore<N, K> {
    const { access, definition, database } = this.#rows;
    return new TypedCounterStore(access.within(transaction), definition, database);
  }

  async #change(
    verb: CounterVerb,
    key: K,
    operand: N | undefined,
    options: CounterWriteOptions | undefined,
  ): Promise<N> {
    return await this.#writes.change({ verb, address: this.#rows.address(key), operand }, options);
  }
}
