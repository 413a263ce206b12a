/** Writes of many entries: in one batch, and from a source of any length. */
import { assertAtMost } from '../base/assert-limits.js';
import { throwIfAborted } from '../base/abort.js';
import { isStorageError, partlyDone } from '../base/errors.js';
import { inspect } from '../base/inspect.js';
import type { Key } from '../base/key.js';
import { limits } from '../base/limits.js';
import { invalidOption } from '../base/options.js';
import { untilSignal } from '../base/until-signal.js';
import { conflictError, existsError, keyOf } from '../commit/commit.js';
import { rowNameOf } from '../port/row-name.js';
import type { Address } from '../port/storage-provider.js';
import { BulkLoad } from './bulk-load.js';
import type { LoadItem, LoadFromOptions, LoadResult } from './bulk-types.js';
import type { CallOptions } from './call-options.js';
import { rowsPerEntry } from './definition-rows.js';
import { frozenKey, type Entry } from './entry.js';
import type { WriteOptions } from './key-value-store.js';
import type { StateRows } from './state-rows.js';
import { ttlOf } from './write-options.js';

interface Line<K, I> {
  readonly key: K;
  readonly value: I;
  readonly address: Address;
}

export class BulkWriter<T, K extends Key, I> {
  readonly #rows: StateRows<T, K>;

  constructor(rows: StateRows<T, K>) {
    this.#rows = rows;
  }

  /** Writes all items in one batch. `absent`: none of their keys may exist. */
  async write(
    verb: 'setMany' | 'addMany',
    items: Iterable<{ readonly key: K; readonly value: I }>,
    options: WriteOptions | undefined,
  ): Promise<readonly Entry<T, K>[]> {
    const rows = this.#rows;
    const ttl = ttlOf(verb, options?.ttlMs, rows.state.ttlMs, 'replace');
    const database = rows.database();
    const lines = this.#linesOf(verb, items, database);
    throwIfAborted('A commit', options?.signal);
    rows.access.assertOpen();
    if (lines.length === 0) return [];
    const encoded = await Promise.all(
      lines.map(async ({ key, value }) => await rows.codec.encode(key, value)),
    );
    const changes = lines.map(({ address }, index) => {
      const { stored } = encoded[index] as (typeof encoded)[number];
      return { kind: 'put', address, value: stored, ttl } as const;
    });
    const checks =
      verb === 'addMany' ? lines.map(({ address }) => ({ address, expected: 'absent' as const })) : [];
    const result = await rows.commit(database, { checks, changes }, options);
    if (result.outcome === 'conflict')
      throw verb === 'addMany'
        ? existsError(rows.state.name, keyOf(result.address))
        : conflictError(result, 'own');
    return lines.map(({ key, address }, index) =>
      rows.written(address, key, encoded[index] as (typeof encoded)[number], result, index),
    );
  }

  /** Deletes keys batch by batch; an error says how many were deleted before it (`done`). */
  async delete(keys: Iterable<K> | AsyncIterable<K>, options: CallOptions | undefined): Promise<number> {
    const rows = this.#rows;
    assertSource('deleteKeys: keys', 'keys', keys);
    const database = rows.database();
    const chunkMax = entriesOfBatch(rows);
    let done = 0;
    let chunk = new Map<string, Address>();
    const commit = async (): Promise<void> => {
      const changes = [...chunk.values()].map((address) => ({ kind: 'delete', address }) as const);
      chunk = new Map();
      const result = await rows.commit(database, { checks: [], changes }, options);
      if (result.outcome === 'conflict') throw conflictError(result, 'own');
      // behind these rows are those of the indexes
      done += result.rows.slice(0, changes.length).filter(({ existed }) => existed).length;
    };
    throwIfAborted('A deletion', options?.signal);
    rows.access.assertOpen();
    try {
      for await (const key of untilSignal('A deletion', keys, options?.signal)) {
        const address = rows.address(key, database);
        chunk.set(rowNameOf(address), address);
        if (chunk.size === chunkMax) await commit();
      }
      if (chunk.size > 0) await commit();
    } catch (error) {
      throw isStorageError(error) ? partlyDone(error, done) : error;
    }
    return done;
  }

  async load(
    source: Iterable<LoadItem<K, I>> | AsyncIterable<LoadItem<K, I>>,
    options: LoadFromOptions | undefined,
  ): Promise<LoadResult> {
    assertSource('loadFrom: source', '{ key, value }', source);
    return await new BulkLoad(this.#rows, options ?? {}, entriesOfBatch(this.#rows)).run(source);
  }

  #linesOf(
    verb: string,
    items: Iterable<{ readonly key: K; readonly value: I }>,
    database: string,
  ): readonly Line<K, I>[] {
    if (typeof (items as Partial<Iterable<unknown>> | null | undefined)?.[Symbol.iterator] !== 'function')
      throw invalidOption(`${verb}: items must be an iterable of { key, value }; got ${inspect(items)}.`);
    const lines: Line<K, I>[] = [];
    const names = new Set<string>();
    for (const { key, value } of items) {
      const address = this.#rows.address(key, database);
      if (names.has(address.key)) throw invalidOption(`${verb}: got the key ${inspect(key)} twice.`);
      names.add(address.key);
      assertAtMost('batchEntriesMax', names.size, 'rows in one batch');
      lines.push({ key: frozenKey(key), value, address });
    }
    return lines;
  }
}

function entriesOfBatch<T, K extends Key>(rows: StateRows<T, K>): number {
  return Math.floor(limits.batchEntriesMax / rowsPerEntry(rows));
}

function assertSource(what: string, of: string, source: unknown): void {
  const isIterable =
    typeof source === 'object' &&
    source !== null &&
    (Symbol.asyncIterator in source || Symbol.iterator in source);
  if (!isIterable)
    throw invalidOption(`${what} must be an iterable or async iterable of ${of}; got ${inspect(source)}.`);
}
