/**
 * The verbs of a store that write one entry: each checks its arguments, encodes, and commits. With
 * an idempotency key, the commit has a record of the result.
 */
import {
  conflictError,
  conflictOf,
  existsError,
  notFoundError,
  type CommittedBatch,
  type ConflictedBatch,
} from '../commit/commit.js';
import type { IdempotencyRecord, JsonContent } from '../commit/idempotency-record.js';
import { untilAborted } from '../base/abort.js';
import { andThen } from '../base/and-then.js';
import { inspect } from '../base/inspect.js';
import type { Key } from '../base/key.js';
import { isPromise } from '../base/kinds.js';
import { refusedPromise } from '../base/refused-promise.js';
import { assertOptions, assertTtl, invalidOption } from '../base/options.js';
import { resolveRetry, type RetryOptions, type RetryPolicy } from '../contention/retry-on-conflict.js';
import { isMet } from '../port/evaluate-batch.js';
import type { Address, Expected, Row, TimeToLive } from '../port/storage-provider.js';
import type { CallOptions, IdempotentOptions } from './call-options.js';
import { frozenKey, type Entry, type EntryInfo } from './entry.js';
import type {
  DeleteOptions,
  GotOrAdded,
  GuardedWriteOptions,
  KeyedWriteOptions,
  TouchOptions,
  UpdateOptions,
} from './key-value-store.js';
import {
  commitOnce,
  decideRow,
  entryAgain,
  infoAgain,
  keptExpiry,
  keptInfo,
  keptRow,
  keptValue,
  recordOfWrite,
  replayOrThrow,
  type ReadExpiry,
  type Decision,
  type KeptResult,
  type RowWrite,
} from './recorded-writes.js';
import type { StateRows } from './state-rows.js';
import type { Encoded } from './value-codec.js';
import { conditionOf, etagIn, isOneOf, restsOnReading, ttlOf, type OneOf } from './write-options.js';

const keyedNames = ['signal', 'idempotencyKey'];
const deleteNames = [...keyedNames, 'ifMatch'];
const writeNames = [...keyedNames, 'ttlMs'];
const guardedNames = [...writeNames, 'ifMatch'];
const updateNames = [...writeNames, 'retry', 'initial'];

/** What `add`, `set`, `replace` and `save` differ in. */
interface WriteKind {
  readonly verb: string;
  readonly expected?: Expected;
  /** The condition is the caller's `ifMatch`. */
  readonly guarded?: boolean;
  readonly onConflict: (conflict: ConflictedBatch) => Error;
  /** The entry that the caller has read, whose expiry is kept. */
  readonly read?: ReadExpiry;
}

/** A write whose arguments are checked. */
interface CheckedWrite<V, K extends Key> {
  readonly address: Address;
  readonly key: K;
  readonly condition: Expected | OneOf | undefined;
  readonly ttl: TimeToLive;
  readonly value: V;
}

export class EntryWrites<T, K extends Key, I> {
  readonly #rows: StateRows<T, K>;

  constructor(rows: StateRows<T, K>) {
    this.#rows = rows;
  }

  add(key: K, value: I, options?: KeyedWriteOptions): Promise<Entry<T, K>> {
    const onConflict = (): Error => existsError(this.#rows.state.name, key);
    return this.#write(key, value, options, { verb: 'add', expected: 'absent', onConflict });
  }

  async getOrAdd(key: K, make: () => I | Promise<I>, options?: KeyedWriteOptions): Promise<GotOrAdded<T, K>> {
    assertOptions('getOrAdd', options, writeNames);
    assertFunction('getOrAdd', 'make', make);
    const rows = this.#rows;
    const address = rows.address(key);
    const ownKey = frozenKey(key);
    const ttl = ttlOf('getOrAdd', options?.ttlMs, rows.state.ttlMs, 'replace');
    const write: RowWrite<GotOrAdded<T, K>> = {
      verb: 'getOrAdd',
      address,
      options,
      replayed: async (kept, record) => ({
        entry: await entryAgain(rows, address, ownKey, kept, record),
        added: kept.changed === true,
      }),
    };
    return await decideRow(rows, write, this.#policy(options), async (row) => {
      if (row !== undefined)
        return {
          change: undefined,
          kept: () => ({ ...keptRow(row), changed: false }),
          result: async () => ({ entry: await rows.entry(address, ownKey, row), added: false }),
        };
      const encoded = await rows.codec.encodeReturned(ownKey, await make());
      return {
        change: { kind: 'put', address, value: encoded.stored, ttl },
        kept: () => ({ ...keptValue(encoded), ...keptExpiry(ttl, undefined), changed: true }),
        result: (batch) => ({
          entry: rows.written(address, ownKey, encoded, batch as CommittedBatch),
          added: true,
        }),
      };
    });
  }

  set(key: K, value: I, options?: GuardedWriteOptions): Promise<Entry<T, K>> {
    return this.#write(key, value, options, setting);
  }

  replace(key: K, value: I, options?: KeyedWriteOptions): Promise<Entry<T, K>> {
    const onConflict = (): Error => this.#notFound(key);
    return this.#write(key, value, options, { verb: 'replace', expected: 'present', onConflict });
  }

  async save(entry: Entry<T, K>, options?: KeyedWriteOptions): Promise<Entry<T, K>> {
    assertEntry('save', entry);
    const expected = { version: etagIn(entry) };
    const read = { expiresAt: entry.expiresAt?.getTime() };
    const kind = { verb: 'save', expected, onConflict: ownConflict, read };
    return await this.#write(entry.key, entry.value, options, kind);
  }

  async update(
    key: K,
    change: (value: T) => I | Promise<I>,
    options?: UpdateOptions<I>,
  ): Promise<Entry<T, K>> {
    assertOptions('update', options, updateNames);
    assertFunction('update', 'change', change);
    if (options?.initial !== undefined) assertFunction('update', 'initial', options.initial);
    const rows = this.#rows;
    const address = rows.address(key);
    const ownKey = frozenKey(key);
    const ttl = ttlOf('update', options?.ttlMs, rows.state.ttlMs, 'keep');
    const write = this.#entryWrite('update', address, ownKey, options);
    return await decideRow(rows, write, this.#policy(options, options?.retry), (row) => {
      if (row === undefined && options?.initial === undefined) throw this.#notFound(ownKey);
      const initial = row === undefined ? options?.initial?.() : undefined;
      if (isPromise(initial)) throw refusedPromise('update: initial', initial);
      const read =
        row === undefined
          ? andThen(rows.codec.encodeReturned(ownKey, initial), ({ value }) => value)
          : rows.codec.decode(address, row.value);
      const put = (encoded: Encoded<T>): Decision<Entry<T, K>> => ({
        change: { kind: 'put', address, value: encoded.stored, ttl },
        kept: () => ({ ...keptValue(encoded), ...keptExpiry(ttl, row) }),
        result: (batch) => rows.written(address, ownKey, encoded, batch as CommittedBatch),
      });
      return andThen(read, (before) =>
        andThen(change(before) as T | I | Promise<T | I>, (after) =>
          row !== undefined && after === before && options?.ttlMs === undefined
            ? { change: undefined, kept: () => keptRow(row), result: () => rows.entry(address, ownKey, row) }
            : andThen(rows.codec.encodeReturned(ownKey, after), put),
        ),
      );
    });
  }

  async touch(key: K, options: TouchOptions): Promise<EntryInfo<K>> {
    assertOptions('touch', options, writeNames);
    assertTtl('touch', (options as Partial<typeof options> | undefined)?.ttlMs);
    const { ttlMs } = options;
    const rows = this.#rows;
    const address = rows.address(key);
    const ownKey = frozenKey(key);
    const write: RowWrite<EntryInfo<K>> = {
      verb: 'touch',
      address,
      options,
      intent: String(ttlMs),
      replayed: (kept, record) => infoAgain(ownKey, kept, record),
    };
    const decide = (row: Row | undefined, time: number): Decision<EntryInfo<K>> => {
      if (row === undefined) throw this.#notFound(ownKey);
      if (row.expiresAt === undefined || row.expiresAt >= time + ttlMs)
        return { change: undefined, kept: () => keptInfo(row), result: () => rows.info(ownKey, row) };
      return {
        change: { kind: 'renew', address, ttlMs },
        kept: () => ({ version: row.version, updatedAt: row.updatedAt, ttlMs }),
        result: (batch) => rows.info(ownKey, row, batch?.rows[0]?.expiresAt),
      };
    };
    return await decideRow(rows, write, this.#policy(options), decide, 'omit');
  }

  async delete(key: K, options?: DeleteOptions): Promise<boolean> {
    assertOptions('delete', options, deleteNames);
    const address = this.#rows.address(key);
    const condition = conditionOf(options, address);
    if (options?.idempotencyKey !== undefined) return await this.#deleteOnce(address, condition, options);
    const expected = isOneOf(condition) ? await this.#oneOf(address, condition, options) : condition;
    const checks = expected === undefined ? [] : [{ address, expected }];
    const changes = [{ kind: 'delete', address } as const];
    const result = await this.#rows.commit(address.database, { checks, changes }, options, address);
    if (result.outcome === 'conflict') throw conflictError(result, 'caller');
    return result.rows[0]?.existed === true;
  }

  async take(key: K, options?: CallOptions & IdempotentOptions): Promise<Entry<T, K> | undefined> {
    assertOptions('take', options, keyedNames);
    const rows = this.#rows;
    const address = rows.address(key);
    const ownKey = frozenKey(key);
    const write: RowWrite<Entry<T, K> | undefined> = {
      verb: 'take',
      address,
      options,
      replayed: (kept, record) =>
        kept.changed === true ? entryAgain(rows, address, ownKey, kept, record) : undefined,
    };
    return await decideRow(rows, write, this.#policy(options), async (row) => {
      if (row === undefined)
        return { change: undefined, kept: () => ({ changed: false }), result: () => undefined };
      // decoded first: a value that cannot be read back is not removed
      const entry = await rows.entry(address, ownKey, row);
      return {
        change: { kind: 'delete', address },
        kept: () => ({ ...keptRow(row), changed: true }),
        result: () => entry,
      };
    });
  }

  // ─── parts

  async #write(
    key: K,
    value: I | T,
    options: GuardedWriteOptions | undefined,
    kind: WriteKind,
  ): Promise<Entry<T, K>> {
    const { verb, guarded, onConflict } = kind;
    assertOptions(verb, options, guarded === true ? guardedNames : writeNames);
    const rows = this.#rows;
    const address = rows.address(key);
    const condition = guarded === true ? conditionOf(options, address) : kind.expected;
    const ownKey = frozenKey(key);
    const ttl = ttlOf(verb, options?.ttlMs, rows.state.ttlMs, kind.read === undefined ? 'replace' : 'keep');
    if (options?.idempotencyKey !== undefined)
      return await this.#writeOnce(kind, { address, key: ownKey, condition, ttl, value }, options);
    const pending = rows.codec.encode(ownKey, value);
    const encoded = isPromise(pending) ? await untilAborted(verb, 'none', options?.signal, pending) : pending;
    const expected = isOneOf(condition) ? await this.#oneOf(address, condition, options) : condition;
    const checks = expected === undefined ? [] : [{ address, expected }];
    const changes = [{ kind: 'put', address, value: encoded.stored, ttl } as const];
    const result = await rows.commit(address.database, { checks, changes }, options, address);
    if (result.outcome === 'conflict') throw onConflict(result);
    return rows.written(address, ownKey, encoded, result);
  }

  /** As `#write`, with a record. The row is read first only where the result depends on it. */
  async #writeOnce(
    { verb, read, onConflict }: WriteKind,
    { address, key, condition, ttl, value }: CheckedWrite<I | T, K>,
    options: GuardedWriteOptions,
  ): Promise<Entry<T, K>> {
    const rows = this.#rows;
    const encoding = encodedOrRejected(() => rows.codec.encode(key, value));
    // a repeat of work that reads and saves has read its own result
    const given =
      read === undefined && !restsOnReading(options) && typeof options.idempotencyKey === 'string'
        ? rows.codec.givenContent(key, value, isPromise(encoding) ? undefined : encoding)
        : undefined;
    const intent = given && withTtl(given, options.ttlMs ?? null);
    const write = this.#entryWrite(verb, address, key, options, intent);
    const kept = (encoded: Encoded<T>, row: ReadExpiry | undefined): KeptResult => ({
      ...keptValue(encoded),
      ...keptExpiry(ttl, row),
    });
    const put = ({ stored }: Encoded<T>) => ({ kind: 'put', address, value: stored, ttl }) as const;
    const keepsUnread = typeof ttl === 'object' && read === undefined && condition !== 'absent';
    if (isOneOf(condition) || keepsUnread)
      return await decideRow(rows, write, this.#policy(options), async (row) => {
        const encoded = await encoding;
        assertCondition(address, condition, row, onConflict);
        return {
          change: put(encoded),
          kept: () => kept(encoded, row),
          result: (batch) => rows.written(address, key, encoded, batch as CommittedBatch),
        };
      });
    // made before anything is awaited: it compares the value of the call
    let encoded: Encoded<T>;
    let current = read;
    const record = recordOfWrite(rows, write, () => kept(encoded, current)) as IdempotencyRecord;
    try {
      encoded = isPromise(encoding) ? await untilAborted(verb, 'none', options.signal, encoding) : encoding;
      if (typeof ttl === 'object' && read?.expiresAt !== undefined)
        current = await this.#expiryNow(address, condition, read, options);
    } catch (error) {
      return await replayOrThrow(rows, write, record, error);
    }
    return await commitOnce(rows, write, record, {
      expected: condition,
      change: put(encoded),
      onConflict,
      result: (batch) => rows.written(address, key, encoded, batch),
    });
  }

  /** Of an entry that was read: it may have been renewed since, which keeps its version. */
  async #expiryNow(
    address: Address,
    condition: Expected | undefined,
    read: ReadExpiry,
    { signal }: CallOptions,
  ): Promise<ReadExpiry> {
    const { row } = await this.#rows.access.readOne(address, { signal, values: 'omit' });
    return row !== undefined && condition !== undefined && isMet({ expected: condition }, row) ? row : read;
  }

  async #deleteOnce(
    address: Address,
    condition: Expected | OneOf | undefined,
    options: CallOptions & IdempotentOptions,
  ): Promise<boolean> {
    const write: RowWrite<boolean> = {
      verb: 'delete',
      address,
      options,
      replayed: ({ changed }) => changed === true,
    };
    return await decideRow(this.#rows, write, this.#policy(options), (row) => {
      assertCondition(address, condition, row, callerConflict);
      const changed = row !== undefined;
      return {
        change: changed ? { kind: 'delete', address } : undefined,
        kept: () => ({ changed }),
        result: () => changed,
      };
    });
  }

  #entryWrite(
    verb: string,
    address: Address,
    key: K,
    options: RowWrite<unknown>['options'],
    intent?: JsonContent,
  ): RowWrite<Entry<T, K>> {
    const replayed = async (kept: KeptResult, record: Row): Promise<Entry<T, K>> =>
      await entryAgain(this.#rows, address, key, kept, record);
    return { verb, address, options, replayed, intent };
  }

  /** Of several etags, the one that the row has; `STORAGE_CONFLICT` where it has none of them. */
  async #oneOf(address: Address, condition: OneOf, options: CallOptions | undefined): Promise<Expected> {
    const { row } = await this.#rows.access.readOne(address, { signal: options?.signal, values: 'omit' });
    assertCondition(address, condition, row, callerConflict);
    return { version: (row as Row).version };
  }

  #policy(options: CallOptions | undefined, retry?: RetryOptions): RetryPolicy {
    const policy = resolveRetry(retry, this.#rows.access.retry);
    return options?.signal ? { ...policy, signal: options.signal } : policy;
  }

  #notFound(key: Key) {
    return notFoundError(this.#rows.state.name, key);
  }
}

const callerConflict = (conflict: ConflictedBatch): Error => conflictError(conflict, 'caller');
const ownConflict = (conflict: ConflictedBatch): Error => conflictError(conflict, 'own');
const setting: WriteKind = { verb: 'set', guarded: true, onConflict: callerConflict };

const withTtl = (given: JsonContent, ttlMs: unknown): JsonContent =>
  typeof given === 'string' ? `[${given},${JSON.stringify(ttlMs)}]` : { value: [given.value, ttlMs] };

/** An error is thrown where the promise is awaited: the key may be refused first. */
function encodedOrRejected<E>(encode: () => E | Promise<E>): E | Promise<E> {
  try {
    const encoded = encode();
    if (isPromise(encoded)) encoded.catch(() => undefined);
    return encoded;
  } catch (error) {
    const rejected = (async () => {
      throw error;
    })();
    rejected.catch(() => undefined);
    return rejected;
  }
}

/** Throws where a row is not as the condition requires. */
function assertCondition(
  address: Address,
  condition: Expected | OneOf | undefined,
  row: Row | undefined,
  onConflict: (conflict: ConflictedBatch) => Error,
): void {
  if (condition === undefined) return;
  const actual = row?.version;
  if (!isOneOf(condition)) {
    if (isMet({ expected: condition }, row)) return;
    throw onConflict({ outcome: 'conflict', address, expected: condition, actual });
  }
  const { versions } = condition;
  if (actual !== undefined && versions.includes(actual)) return;
  const expected = versions.length === 0 ? 'an etag of this row' : `one of ${versions.length} etags`;
  throw conflictOf(address, expected, expected, actual, 'caller');
}

function assertEntry(verb: string, entry: unknown): void {
  if (typeof entry === 'object' && entry !== null && 'key' in entry && 'etag' in entry && 'value' in entry)
    return;
  throw invalidOption(`${verb}: entry must be an entry that was read; got ${inspect(entry)}.`);
}

function assertFunction(verb: string, name: string, given: unknown): void {
  if (typeof given !== 'function')
    throw invalidOption(`${verb}: ${name} must be a function; got ${inspect(given)}.`);
}
