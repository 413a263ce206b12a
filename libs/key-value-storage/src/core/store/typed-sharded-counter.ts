/** The `ShardedCounter` of users: counters of a `TypedCounterStore`, one for each shard. */
import { assertAtMost } from '../base/assert-limits.js';
import { storageError } from '../base/errors.js';
import { inspect } from '../base/inspect.js';
import type { Key } from '../base/key.js';
import { invalidOption } from '../base/options.js';
import type { StorageAccess } from '../commit/storage-access.js';
import type { Address } from '../port/storage-provider.js';
import type { CallOptions, IdempotentOptions, ReadOptions } from './call-options.js';
import type { ResolvedShardedCounter } from './counter-definition.js';
import type { CounterWriteOptions } from './counter-store.js';
import type { CounterVerb } from './counter-rows.js';
import { CounterWrites } from './counter-writes.js';
import { addressOf } from './definition-rows.js';
import { ShardedCounter } from './sharded-counter.js';
import { databaseOf } from './tenant.js';
import { counterRows, TypedCounterStore } from './typed-counter-store.js';

/** Where a counter is: what `TypedCounterStore` takes. */
interface Location {
  readonly access: StorageAccess;
  readonly database: () => string;
}

export class TypedShardedCounter<K extends Key = Key> extends ShardedCounter<K> {
  readonly #definition: ResolvedShardedCounter;
  readonly #location: Location;
  readonly #shards: TypedCounterStore<number>;
  readonly #writes: CounterWrites<number>;
  /** Random, so that processes that start together do not use the same shards at the same time. */
  #next = Math.floor(Math.random() * 1_000);

  constructor(access: StorageAccess, definition: ResolvedShardedCounter, database: () => string) {
    super();
    this.#definition = definition;
    this.#location = { access, database };
    this.#shards = new TypedCounterStore<number>(access, definition.shard, database);
    this.#writes = new CounterWrites(this.#shards[counterRows]);
  }

  /** For messages. */
  get name(): string {
    return this.#definition.name;
  }

  async get(key: K, options?: ReadOptions): Promise<number> {
    return this.#sum(key, await this.#shards.getMany(this.#keysOf(key), options));
  }

  async getMany<const Keys extends readonly K[]>(
    keys: Keys,
    options?: ReadOptions,
  ): Promise<{ readonly [Index in keyof Keys]: number }> {
    if (!Array.isArray(keys)) throw invalidOption(`getMany: keys must be an array; got ${inspect(keys)}.`);
    const { shards } = this.#definition;
    assertAtMost('readAddressesMax', keys.length * shards, 'shards in one getMany');
    const numbers = await this.#shards.getMany(
      keys.flatMap((key) => this.#keysOf(key)),
      options,
    );
    return keys.map((key, index) => this.#sum(key, numbers.slice(index * shards, (index + 1) * shards))) as {
      readonly [Index in keyof Keys]: number;
    };
  }

  async increment(key: K, by?: number, options?: CounterWriteOptions): Promise<void> {
    await this.#change('increment', key, by, options);
  }

  async decrement(key: K, by?: number, options?: CounterWriteOptions): Promise<void> {
    await this.#change('decrement', key, by, options);
  }

  async reset(key: K, options?: CallOptions & IdempotentOptions): Promise<void> {
    const rows = this.#shards[counterRows];
    const counter = this.#addressOf(key, rows.database());
    const shards = this.#keysOf(key).map((shard) => rows.address(shard, counter.database));
    await this.#writes.reset(counter, shards, options);
  }

  forTenant(tenant: string): ShardedCounter<K> {
    const database = databaseOf(tenant);
    if (this.#definition.scope === 'shared')
      throw invalidOption(`The sharded counter '${this.#definition.name}' is shared: it has no tenants.`);
    return new TypedShardedCounter<K>(this.#location.access, this.#definition, () => database);
  }

  within(transaction: object): ShardedCounter<K> {
    const { access, database } = this.#location;
    return new TypedShardedCounter<K>(access.within(transaction), this.#definition, database);
  }

  /**
   * Of one shard, in turn, so that concurrent changes of one process use as many as there are. The
   * record of an idempotency key belongs to the counter, so a repeat finds it from any shard.
   */
  async #change(
    verb: CounterVerb,
    key: K,
    operand: number | undefined,
    options: CounterWriteOptions | undefined,
  ): Promise<void> {
    const rows = this.#shards[counterRows];
    const counter = this.#addressOf(key, rows.database());
    this.#next = (this.#next + 1) % this.#definition.shards;
    const address = rows.address(shardKey(key, this.#next), counter.database);
    await this.#writes.change({ verb, address, operand, counter }, options);
  }

  #keysOf(key: K): readonly Key[] {
    this.#addressOf(key, '');
    return Array.from({ length: this.#definition.shards }, (_, shard) => shardKey(key, shard));
  }

  /**
   * Of the whole counter. `INVALID_KEY` as for the key of any counter: its shards have keys that no
   * schema knows.
   */
  #addressOf(key: K, database: string): Address {
    return addressOf(this.#definition, key, database);
  }

  #sum(key: K, numbers: readonly number[]): number {
    const sum = numbers.reduce((total, number) => total + BigInt(number), 0n);
    if (Number.isSafeInteger(Number(sum))) return Number(sum);
    const { name, shard } = this.#definition;
    throw storageError(
      'COUNTER_OUT_OF_RANGE',
      `The sum of the shards of ${name} ${inspect(key)} is larger than a number holds.`,
      { key, floor: Number(shard.floor), ceiling: Number(shard.ceiling) },
    );
  }
}

/**
 * The key of one shard: those of a text have two parts, those of parts have two more, so that no
 * two keys have a shard in common.
 */
const shardKey = (key: Key, shard: number): Key =>
  typeof key === 'string' ? [key, shard] : [...key, shard, true];
