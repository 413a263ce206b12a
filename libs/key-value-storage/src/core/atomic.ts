/** Several rows or none: what `storage.atomic()` answers. Checks and changes are gathered by row, and travel as one batch. */
import { throwIfAborted } from './abort.js';
import { commitBatch, conflictError, keyOf, nameOf } from './commit.js';
import type { Engine } from './commit.js';
import type { Entry, EntryInfo } from './entry.js';
import { describe, type Key } from './key.js';
import { AtomicBatch, type AnyStore, type CallOptions, type Committed, type KeyValueStore } from './key-value-store.js';
import { assertOptions, invalidOption } from './options.js';
import type { Given } from './state-definition.js';
import type { StateRows } from './state-rows.js';
import type { Address, Change, Check, Expected, TimeToLive } from './storage-provider.js';
import { storeRows, TypedStore } from './typed-store.js';
import { etagIn, ttlOf } from './write-options.js';

/** One row of the batch: what it must be, and what becomes of it. Values are checked and encoded when they are added. */
interface Line {
  readonly address: Address;
  expected: Expected | undefined;
  change: (() => Promise<Change>) | undefined;
}

/** Where a batch belongs: everything in it must come from here. */
interface Home {
  readonly engine: Engine;
  readonly database: string;
  readonly store: string;
}

export class Atomic extends AtomicBatch {
  readonly #owns: (engine: Engine) => boolean;
  readonly #assertOpen: () => void;
  readonly #lines = new Map<string, Line>();
  #home: Home | undefined;
  #committed = false;

  constructor(owns: (engine: Engine) => boolean, assertOpen: () => void) {
    super();
    this.#owns = owns;
    this.#assertOpen = assertOpen;
  }

  check(store: AnyStore, read: EntryInfo): this {
    const expected = { version: etagIn(read) };
    this.#expect(this.#line(store, read.key), expected);
    return this;
  }

  checkAbsent(store: AnyStore, key: Key): this {
    this.#expect(this.#line(store, key), 'absent');
    return this;
  }

  add<T>(store: KeyValueStore<T>, key: Key, value: Given<T>, options?: { readonly ttlMs?: number }): this {
    assertOptions('add', options, ['ttlMs']);
    this.#expect(this.#line(store, key), 'absent');
    return this.#put(store, key, value, options?.ttlMs, 'replace');
  }

  set<T>(store: KeyValueStore<T>, key: Key, value: Given<T>, options?: { readonly ttlMs?: number | 'keep' | 'never' }): this {
    assertOptions('set', options, ['ttlMs']);
    return this.#put(store, key, value, options?.ttlMs, 'replace');
  }

  save<T>(store: KeyValueStore<T>, entry: Entry<T>): this {
    const expected = { version: etagIn(entry) };
    this.#expect(this.#line(store, entry.key), expected);
    return this.#put(store, entry.key, entry.value, undefined, 'keep');
  }

  delete(store: AnyStore, key: Key | EntryInfo): this {
    const read = isRead(key) ? key : undefined;
    const line = this.#line(store, read === undefined ? (key as Key) : read.key);
    if (read !== undefined) this.#expect(line, { version: etagIn(read) });
    const { address } = line;
    this.#change(line, async () => ({ kind: 'delete', address }));
    return this;
  }

  async commit(options?: CallOptions): Promise<Committed> {
    assertOptions('commit', options, ['signal']);
    if (this.#committed) throw invalidOption('This batch was committed already: begin another one.');
    this.#committed = true;
    throwIfAborted('A commit', options?.signal);
    this.#assertOpen();
    if (this.#home === undefined) return { changes: [] };
    const lines = [...this.#lines.values()];
    const checks: Check[] = lines.flatMap(({ address, expected }) => (expected === undefined ? [] : [{ address, expected }]));
    const changes = await Promise.all(lines.flatMap(({ change }) => (change === undefined ? [] : [change()])));
    const result = await commitBatch(this.#home.engine, this.#home.database, checks, changes, options?.signal);
    if (result.outcome === 'conflict') throw conflictError(result, 'own');
    return { changes: changes.map(({ kind, address }) => ({ key: keyOf(address), etag: kind === 'delete' ? undefined : result.version })) };
  }

  #put<T>(
    store: KeyValueStore<T>,
    key: Key,
    value: Given<T>,
    ttlMs: number | 'keep' | 'never' | undefined,
    expiry: 'replace' | 'keep',
  ): this {
    const line = this.#line(store, key);
    const rows = rowsOf(store);
    const ttl: TimeToLive = ttlOf('An atomic write', ttlMs, rows.state.ttlMs, expiry);
    // encoded now, so that what the caller changes later is not what is stored; an error waits for commit()
    const encoding = (async () => await rows.codec.encode(key, value))();
    encoding.catch(() => undefined);
    const { address } = line;
    this.#change(line, async () => ({ kind: 'put', address, value: (await encoding).stored, ttl }));
    return this;
  }

  #line(store: AnyStore, key: Key): Line {
    const rows = rowsOf(store);
    const address = rows.address(key);
    this.#settle(rows, address.database);
    const name = nameOf(address);
    let line = this.#lines.get(name);
    if (line === undefined) this.#lines.set(name, (line = { address, expected: undefined, change: undefined }));
    return line;
  }

  /** The last change of a row counts, in its place. */
  #change(line: Line, change: () => Promise<Change>): void {
    const name = nameOf(line.address);
    this.#lines.delete(name);
    this.#lines.set(name, line);
    line.change = change;
  }

  #expect(line: Line, expected: Expected): void {
    if (line.expected !== undefined && JSON.stringify(line.expected) !== JSON.stringify(expected)) {
      throw invalidOption(`The batch checks ${describe(keyOf(line.address))} twice, and differently: no commit could meet both.`);
    }
    line.expected = expected;
  }

  /** The first store says where the batch belongs; another place is refused, naming both. */
  #settle({ engine, state }: StateRows<unknown>, database: string): void {
    if (!this.#owns(engine)) throw invalidOption(`The store of '${state.name}' belongs to another storage than this batch.`);
    const place = (where: string, provider: Engine): string => `${where} on provider '${provider.provider.name}'`;
    this.#home ??= { engine, database, store: state.name };
    const home = this.#home;
    if (home.engine !== engine || home.database !== database) {
      throw invalidOption(
        `One commit holds the rows of one tenant and one provider: '${home.store}' is in ${place(home.database, home.engine)}, '${state.name}' in ${place(database, engine)}.`,
      );
    }
  }
}

const isRead = (given: Key | EntryInfo): given is EntryInfo => typeof given === 'object' && given !== null && 'etag' in given;

function rowsOf(store: AnyStore): StateRows<unknown> {
  if (store instanceof TypedStore) return (store as TypedStore<unknown>)[storeRows];
  throw invalidOption(`A batch takes stores of its own storage; given was ${describe(store)}.`);
}
