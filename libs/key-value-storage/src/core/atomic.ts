/** Several rows or none: what `storage.atomic()` answers. Checks and changes are gathered by row, and travel as one batch. */
import { throwIfAborted } from './abort.js';
import { commitParts, WorkingPart, type BatchPart, type Replayed } from './batch-part.js';
import { keyOf, nameOf } from './commit.js';
import type { Engine, Landed } from './commit.js';
import type { Entry, EntryInfo } from './entry.js';
import { describe, type Key } from './key.js';
import { AtomicBatch, type AnyStore, type CallOptions, type Committed, type KeyValueStore } from './key-value-store.js';
import { idempotencyOf, markKeyOf, MarkPart, markRetentionMs, type IdempotentCall } from './mark.js';
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
  deletes: boolean;
}

/** Idempotency marks of whole batches. No mark of a stream or a state has a container without a name. */
const batchMarks = 'mark:';

/** On a batch: what other packages of Kvent commit it by. */
const commitMarked = Symbol('kvent.commit-marked');
const isEmpty = Symbol('kvent.is-empty');

/** Where a batch belongs: everything in it must come from here. */
interface Home {
  readonly engine: Engine;
  readonly database: string;
  /** In messages: what was added first. */
  readonly what: string;
}

export class Atomic extends AtomicBatch {
  readonly #owns: (engine: Engine) => boolean;
  readonly #assertOpen: () => void;
  readonly #lines = new Map<string, Line>();
  readonly #parts: WorkingPart[] = [];
  /** The calls that made this batch: what a repeat with the same idempotency key is compared by. */
  readonly #calls: unknown[] = [];
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
    this.#change(line, async () => ({ kind: 'delete', address }), true);
    this.#calls.push(['delete', address, line.expected ?? null]);
    return this;
  }

  include(part: BatchPart): this {
    if (!(part instanceof WorkingPart))
      throw invalidOption(`A batch includes parts, such as appending(…) answers; given was ${describe(part)}.`);
    this.#settle(part.what, part.engine, part.database);
    if (this.#parts.some(({ subject }) => subject === part.subject))
      throw invalidOption(`The ${part.what} is in this batch already: one commit changes one of them once.`);
    this.#parts.push(part);
    this.#calls.push(['include', part.content()]);
    return this;
  }

  async commit(options?: CallOptions & { readonly idempotencyKey?: string | IdempotentCall | undefined }): Promise<Committed> {
    assertOptions('commit', options, ['signal', 'idempotencyKey']);
    const idempotency = idempotencyOf(options?.idempotencyKey, this.#calls);
    const home = this.#home;
    if (idempotency === undefined || home === undefined) return this.#answer(await this.#commit(undefined, options?.signal));
    const { engine, database } = home;
    const address = { database, container: batchMarks, entity: '', key: markKeyOf(idempotency.key) };
    const mark = new MarkPart({ engine, address, idempotency, retentionMs: markRetentionMs, answer: () => undefined });
    return this.#answer(await this.#commit(mark, options?.signal));
  }

  /** The same for another package of Kvent, with a mark of its own. */
  async [commitMarked](mark: MarkPart | undefined, signal: AbortSignal | undefined): Promise<Landed | Replayed | undefined> {
    return await this.#commit(mark, signal);
  }

  /** Whether there is nothing in it. */
  get [isEmpty](): boolean {
    return this.#lines.size === 0 && this.#parts.length === 0;
  }

  async #commit(mark: MarkPart | undefined, signal: AbortSignal | undefined): Promise<Landed | Replayed | undefined> {
    if (this.#committed) throw invalidOption('This batch was committed already: begin another one.');
    this.#committed = true;
    throwIfAborted('A commit', signal);
    this.#assertOpen();
    const home = this.#home ?? mark;
    if (home === undefined) return undefined;
    const lines = [...this.#lines.values()];
    const checks: Check[] = lines.flatMap(({ address, expected }) => (expected === undefined ? [] : [{ address, expected }]));
    const changes = await Promise.all(lines.flatMap(({ change }) => (change === undefined ? [] : [change()])));
    const parts = mark === undefined ? this.#parts : [mark, ...this.#parts];
    return await commitParts({ engine: home.engine, database: home.database, own: { checks, changes }, parts, signal });
  }

  #answer(outcome: Landed | Replayed | undefined): Committed {
    if (outcome === undefined) return { replayed: false, changes: [] };
    const replayed = 'verdict' in outcome;
    const version = replayed ? outcome.row.version : outcome.version;
    const changed = [...this.#lines.values()].filter(({ change }) => change !== undefined);
    return { replayed, changes: changed.map(({ address, deletes }) => ({ key: keyOf(address), etag: deletes ? undefined : version })) };
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
    this.#change(line, async () => ({ kind: 'put', address, value: (await encoding).stored, ttl }), false);
    this.#calls.push(['put', address, line.expected ?? null, value, ttl]);
    return this;
  }

  #line(store: AnyStore, key: Key): Line {
    const rows = rowsOf(store);
    const address = rows.address(key);
    this.#settle(`state '${rows.state.name}'`, rows.engine, address.database);
    const name = nameOf(address);
    let line = this.#lines.get(name);
    if (line === undefined) this.#lines.set(name, (line = { address, expected: undefined, change: undefined, deletes: false }));
    return line;
  }

  /** The last change of a row counts, in its place. */
  #change(line: Line, change: () => Promise<Change>, deletes: boolean): void {
    const name = nameOf(line.address);
    this.#lines.delete(name);
    this.#lines.set(name, line);
    line.change = change;
    line.deletes = deletes;
  }

  #expect(line: Line, expected: Expected): void {
    if (line.expected !== undefined && JSON.stringify(line.expected) !== JSON.stringify(expected)) {
      throw invalidOption(`The batch checks ${describe(keyOf(line.address))} twice, and differently: no commit could meet both.`);
    }
    line.expected = expected;
  }

  /** What is added first says where the batch belongs; another place is refused, naming both. */
  #settle(what: string, engine: Engine, database: string): void {
    if (!this.#owns(engine)) throw invalidOption(`The ${what} belongs to another storage than this batch.`);
    const place = (where: string, provider: Engine): string => `${where} on provider '${provider.provider.name}'`;
    this.#home ??= { engine, database, what };
    const home = this.#home;
    if (home.engine !== engine || home.database !== database) {
      throw invalidOption(
        `One commit holds the rows of one tenant and one provider: ${home.what} is in ${place(home.database, home.engine)}, ${what} in ${place(database, engine)}.`,
      );
    }
  }
}

/** Commits a batch with a mark of the caller's own; `undefined` when there was nothing to commit. For packages that build on batches. */
export async function commitAtomic(
  batch: AtomicBatch,
  mark: MarkPart | undefined,
  signal: AbortSignal | undefined,
): Promise<Landed | Replayed | undefined> {
  return await ownBatch(batch)[commitMarked](mark, signal);
}

/** Whether nothing was put into a batch. */
export const isEmptyBatch = (batch: AtomicBatch): boolean => ownBatch(batch)[isEmpty];

function ownBatch(batch: AtomicBatch): Atomic {
  if (batch instanceof Atomic) return batch;
  throw invalidOption(`A batch is what atomic() answered; given was ${describe(batch)}.`);
}

const isRead = (given: Key | EntryInfo): given is EntryInfo => typeof given === 'object' && given !== null && 'etag' in given;

function rowsOf(store: AnyStore): StateRows<unknown> {
  if (store instanceof TypedStore) return (store as TypedStore<unknown>)[storeRows];
  throw invalidOption(`A batch takes stores of its own storage; given was ${describe(store)}.`);
}
