/**
 * The writes of counters, with or without an idempotency key. With a key, a record of the result is
 * committed in the same batch, so that a repeat returns it and changes nothing.
 */
import type { Key } from '../base/key.js';
import { assertOptions } from '../base/options.js';
import { idempotencyRecordIn, type IdempotentCall } from '../commit/idempotency-record.js';
import { commitParticipants } from '../commit/participant.js';
import type { Address } from '../port/storage-provider.js';
import type { CallOptions, IdempotentOptions } from './call-options.js';
import { CounterParticipant, type CountedRow } from './counter-participant.js';
import type { CounterChange, CounterRows, CounterVerb } from './counter-rows.js';
import type { CounterWriteOptions } from './counter-store.js';
import { recordOf } from './row-record.js';

const changeNames = ['signal', 'ttlMs', 'idempotencyKey'];
const resetNames = ['signal', 'idempotencyKey'];

/** A change of one row, as the caller asks for it. */
interface AskedChange<N> {
  readonly verb: CounterVerb;
  readonly address: Address;
  /** The amount or the bound; undefined: 1. */
  readonly operand: N | undefined;
  /** The counter that idempotency keys belong to. @default the row */
  readonly counter?: Address;
}

/** `counter`, in both: the address that idempotency keys belong to. */
export class CounterWrites<N extends number | bigint, K extends Key = Key> {
  readonly #rows: CounterRows<N, K>;

  constructor(rows: CounterRows<N, K>) {
    this.#rows = rows;
  }

  /** Returns the number of the row after the change. */
  async change(asked: AskedChange<N>, options: CounterWriteOptions | undefined): Promise<N> {
    const { verb, address, operand, counter = address } = asked;
    assertOptions(verb, options, changeNames);
    const rows = this.#rows;
    const change = rows.change(verb, address, operand, options?.ttlMs);
    if (options?.idempotencyKey !== undefined) return await this.#changeOnce(verb, change, counter, options);
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

  /** Removes all rows of a counter in one commit. */
  async reset(
    counter: Address,
    addresses: readonly Address[],
    options: (CallOptions & IdempotentOptions) | undefined,
  ): Promise<void> {
    assertOptions('reset', options, resetNames);
    const { access } = this.#rows;
    const { database } = counter;
    const changes = addresses.map((address) => ({ kind: 'delete', address }) as const);
    const own = { checks: [], changes };
    const given = options?.idempotencyKey;
    if (given === undefined) {
      await access.commit(database, own, options);
      return;
    }
    const call = { verb: 'reset', given, intent: undefined, result: () => null };
    const record = recordOf({ access, address: counter, ...call });
    await commitParticipants({ access, database, own, participants: [record], signal: options?.signal });
  }

  async #changeOnce(
    verb: CounterVerb,
    change: CounterChange,
    counter: Address,
    options: CounterWriteOptions,
  ): Promise<N> {
    const rows = this.#rows;
    const { address, operand } = change;
    const { access } = rows;
    const counted: CountedRow = { rows, change, number: undefined };
    const record = recordOf({
      access,
      address: counter,
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
