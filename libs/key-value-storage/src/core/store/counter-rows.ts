/** The rows of one counter definition: keys to addresses, numbers to values, and their changes. */
import { storageError } from '../base/errors.js';
import { inspect } from '../base/inspect.js';
import type { Key } from '../base/key.js';
import { assertTtl, outOfRange } from '../base/options.js';
import { keyOf, type CommittedBatch, type ConflictedBatch, type Contribution } from '../commit/commit.js';
import type { RefusedBatch, StorageAccess } from '../commit/storage-access.js';
import type { NumericChange } from '../port/number-change.js';
import type { Address, Row } from '../port/storage-provider.js';
import type { CallOptions } from './call-options.js';
import { int64Min, integerOf, numbersOf, type ResolvedCounter } from './counter-definition.js';
import type { CounterEntry } from './counter-store.js';
import { addressOf, type DefinitionRows } from './definition-rows.js';

export type CounterVerb = 'increment' | 'decrement' | 'raiseTo' | 'lowerTo';
const kinds = { increment: 'sum', decrement: 'sum', raiseTo: 'max', lowerTo: 'min' } as const;

export type CounterChange = NumericChange & { readonly address: Address };

export class CounterRows<N extends number | bigint, K extends Key = Key> implements DefinitionRows<
  CounterEntry<N, K>,
  K
> {
  readonly access: StorageAccess;
  readonly definition: ResolvedCounter;
  readonly database: () => string;
  readonly indexed = undefined;

  constructor(access: StorageAccess, definition: ResolvedCounter, database: () => string) {
    this.access = access;
    this.definition = definition;
    this.database = database;
  }

  address(key: Key, database = this.database()): Address {
    return addressOf(this.definition, key, database);
  }

  async commit(
    database: string,
    contribution: Contribution,
    options: CallOptions | undefined,
  ): Promise<CommittedBatch | ConflictedBatch> {
    return await this.access.commit(database, contribution, options);
  }

  entry(address: Address, key: K, row: Row): CounterEntry<N, K> {
    const { updatedAt, expiresAt } = row;
    return Object.freeze({
      key,
      value: this.valueOf(address, this.#numberIn(address, row)),
      updatedAt: new Date(updatedAt),
      expiresAt: expiresAt === undefined ? undefined : new Date(expiresAt),
    });
  }

  /** The number of a row; 0 where there is none. */
  read(address: Address, row: Row | undefined): N {
    return this.valueOf(address, row === undefined ? 0n : this.#numberIn(address, row));
  }

  /**
   * `given`: the operand of the caller; of `increment` and `decrement`, 1 where it is undefined.
   */
  change(verb: CounterVerb, address: Address, given: unknown, ttlMs: number | undefined): CounterChange {
    const { floor, ceiling, ttlMs: ownTtlMs } = this.definition;
    if (ttlMs !== undefined) assertTtl(verb, ttlMs);
    const ttl = ttlMs ?? ownTtlMs;
    return {
      kind: kinds[verb],
      address,
      operand: this.#operandOf(verb, given),
      floor,
      ceiling,
      ...(ttl === undefined ? {} : { ttlMs: ttl }),
    };
  }

  #operandOf(verb: CounterVerb, given: unknown): bigint {
    const { name, isBig } = this.definition;
    const isSum = kinds[verb] === 'sum';
    if (isSum && given === undefined) return verb === 'increment' ? 1n : -1n;
    const what = `${verb}: the amount for '${name}'`;
    const operand = integerOf(what, given, numbersOf(isBig));
    if (verb !== 'decrement') return operand;
    // the lowest number of 64 bits has no negative
    if (operand === int64Min) throw outOfRange(`${what} must be above ${int64Min}; got ${inspect(given)}.`);
    return -operand;
  }

  /**
   * The number as the caller's type. A counter of type `number` that holds a larger one was written
   * by another definition.
   */
  valueOf(address: Address, number: bigint | undefined, effect: 'none' | 'unknown' = 'none'): N {
    if (number === undefined)
      throw storageError(
        'STORAGE_OUTCOME_UNKNOWN',
        `The provider '${this.access.provider.name}' returned no number for a counter.`,
        {},
      );
    if (this.definition.isBig) return number as N;
    if (Number.isSafeInteger(Number(number))) return Number(number) as N;
    throw this.#outOfRange(address, 'is larger than a number holds; use defineBigCounter', effect);
  }

  /** The error of an impossible change. */
  refusal(address: Address, reason: RefusedBatch['reason']): Error {
    if (reason === 'type') return this.#corrupt(address);
    const { floor, ceiling } = this.definition;
    return this.#outOfRange(address, `must stay between ${floor} and ${ceiling}; nothing was changed`);
  }

  #numberIn(address: Address, { value }: Row): bigint {
    if (value.kind === 'number') return value.number;
    throw this.#corrupt(address);
  }

  #outOfRange(address: Address, why: string, effect: 'none' | 'unknown' = 'none'): Error {
    const { name, isBig, floor, ceiling } = this.definition;
    const key = keyOf(address);
    const bounds = isBig ? { floor, ceiling } : { floor: Number(floor), ceiling: Number(ceiling) };
    const message = `The counter ${name} ${inspect(key)} ${why}.`;
    return storageError('COUNTER_OUT_OF_RANGE', message, { key, ...bounds }, { effect });
  }

  #corrupt({ database, container, entity, key }: Address): Error {
    const place = `${database}/${container}/${entity}/${key}`;
    return storageError('STORAGE_CORRUPT', `The row at ${place} is not a number.`, { place });
  }
}
