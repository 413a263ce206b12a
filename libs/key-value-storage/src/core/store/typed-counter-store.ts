/** The `CounterStore` of users: each verb checks its arguments and commits one numeric change. */
import { assertAtMost } from '../base/assert-limits.js';
import { inspect } from '../base/inspect.js';
import type { Key, KeyRange } from '../base/key.js';
import { assertOptions, invalidOption } from '../base/options.js';
import { idempotencyRecordIn, type IdempotentCall } from '../commit/idempotency-record.js';
import { commitParticipants } from '../commit/participant.js';
import type { StorageAccess } from '../commit/storage-access.js';
import type { ResolvedCounter } from './counter-definition.js';
import { CounterParticipant, type CountedRow } from './counter-participant.js';
import { CounterRows, type CounterChange, type CounterVerb } from './counter-rows.js';
import { recordOf } from './row-record.js';
import { CounterStore, type CounterEntry, type CounterWriteOptions } from './counter-store.js';
import type { CallOptions, IdempotentOptions, ReadOptions } from './call-options.js';
import { RangeReader } from './range-reader.js';
import { databaseOf } from './tenant.js';

const readNames = ['signal', 'consistency'];
const writeNames = ['signal', 'ttlMs', 'idempotencyKey'];

/** On a store of counters: its rows, for batches. */
export const counterRows = Symbol('kvent.counter-rows');

export class TypedCounterStore<N extends number | bigint, K extends Key = Key> extends CounterStore<N, K> {
  readonly [counterRows]: CounterRows<N, K>;
  readonly #rows: CounterRows<N, K>;
  readonly #ranges: RangeReader<CounterEntry<N, K>, K>;

  constructor(access: StorageAccess, definition: ResolvedCounter, database: () => string) {
    super();
    this.#rows = new CounterRows(access, definition, database);
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
    assertOptions('reset', options, ['signal', 'idempotencyKey']);
    const { access } = this.#rows;
    const address = this.#rows.address(key);
    const { database } = address;
    const own = { checks: [], changes: [{ kind: 'delete', address } as const] };
    const given = options?.idempotencyKey;
    if (given === undefined) {
      await access.commit(database, own, options);
      return;
    }
    const record = recordOf({ access, address, verb: 'reset', given, intent: undefined, result: () => null });
    await commitParticipants({ access, database, own, participants: [record], signal: options?.signal });
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
    given: N | undefined,
    options: CounterWriteOptions | undefined,
  ): Promise<N> {
    assertOptions(verb, options, writeNames);
    const rows = this.#rows;
    const address = rows.address(key);
    const change = rows.change(verb, address, given, options?.ttlMs);
    if (options?.idempotencyKey !== undefined) return await this.#changeOnce(verb, change, options);
    const changes = [change];
    const result = await rows.access.commit(
      address.database,
      { checks: [], changes },
      { signal: options?.signal, refused: ({ reason }) => rows.refusal(address, reason) },
    );
    return rows.valueOf(
      address,
      result.outcome === 'committed' ? result.rows[0]?.number : undefined,
      'unknown',
    );
  }

  /** With a record of the number, so that a repeat returns it and changes nothing. */
  async #changeOnce(verb: CounterVerb, change: CounterChange, options: CounterWriteOptions): Promise<N> {
    const rows = this.#rows;
    const { address, operand } = change;
    const { access } = rows;
    const counted: CountedRow = { rows, change, number: undefined };
    const record = recordOf({
      access,
      address,
      verb,
      given: options.idempotencyKey as string | IdempotentCall,
      intent: `["${operand}",${JSON.stringify(options.ttlMs ?? null)}]`,
      result: () => (counted.number === undefined ? null : rows.valueOf(address, counted.number)),
    });
    const outcome = await commitParticipants({
      access,
      database: address.database,
      own: { checks: [], changes: [] },
      participants: [record, new CounterParticipant(access, address.database, [counted])],
      signal: options.signal,
    });
    return outcome.outcome === 'replayed'
      ? (idempotencyRecordIn(outcome.row).result as N)
      : rows.valueOf(address, counted.number, 'unknown');
  }
}
