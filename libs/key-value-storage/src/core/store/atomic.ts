/**
 * Several rows or none: what `storage.atomic()` answers. Checks and changes are gathered by row,
 * and travel as one batch.
 */
import { throwIfAborted } from '../base/abort.js';
import {
  commitParticipants,
  Participant,
  type CommitParticipant,
  type ReplayedBatch,
} from '../commit/participant.js';
import { encodeValue } from '../encoding/codec.js';
import {
  conflictError,
  existsError,
  keyOf,
  type CommittedBatch,
  type ConflictedBatch,
} from '../commit/commit.js';
import type { StorageAccess } from '../commit/storage-access.js';
import type { OnConflict } from '../contention/held-locks.js';
import { rowNameOf } from '../port/row-name.js';
import type { Entry, EntryInfo } from './entry.js';
import { decodeKey } from '../encoding/key-encoding.js';
import { inspect } from '../base/inspect.js';
import type { Key } from '../base/key.js';
import {
  AtomicBatch,
  type AnyStore,
  type CallOptions,
  type AtomicResult,
  type KeyValueStore,
} from './key-value-store.js';
import {
  idempotencyOf,
  idempotencyRecordIn,
  idempotencyRecordKey,
  IdempotencyRecord,
  defaultIdempotencyRetentionMs,
  type IdempotentCall,
} from '../commit/idempotency-record.js';
import { assertOptions, invalidOption, invalidState } from '../base/options.js';
import type { Input } from './state-definition.js';
import type { StateRows } from './state-rows.js';
import type { Address, Change, Check, Expected, TimeToLive } from '../port/storage-provider.js';
import { storeRows, TypedStore } from './typed-store.js';
import { etagIn, ttlOf } from './write-options.js';

/**
 * One row of the batch: what it must be, and what becomes of it. Values are checked and encoded
 * when they are added.
 */
interface Line {
  readonly address: Address;
  /** In messages: the name of the state. */
  readonly state: string;
  expected: Expected | undefined;
  /**
   * The caller said that it must be new: a key that is there is `KEY_EXISTS`, as of the verb of a
   * store.
   */
  added: boolean;
  change: (() => Promise<Change>) | undefined;
  deletes: boolean;
}

/** A call that made the batch, as an idempotency key compares it. */
interface Call {
  /** What it is about: the verb, and the row or the part. */
  readonly about: readonly unknown[];
  /** All that the caller gave. */
  readonly whole: () => readonly unknown[];
}

/**
 * What the record of a commit answers a repeat with: the keys of the changes, encoded, in their
 * order, and which of them were deletions.
 */
interface RecordedChanges {
  readonly keys: readonly string[];
  readonly deleted: readonly number[];
}

/**
 * Idempotency marks of whole batches. No mark of a stream or a state has a container without a
 * name.
 */
const batchMarks = 'mark:';

/** On a batch: what other packages of Kvent commit it by. */
const commitMarked = Symbol('kvent.commit-marked');
const isEmpty = Symbol('kvent.is-empty');

/** Where a batch belongs: everything in it must come from here. */
interface Home {
  readonly access: StorageAccess;
  readonly database: string;
  /** In messages: what was added first. */
  readonly what: string;
}

export class Atomic extends AtomicBatch {
  readonly #owns: (access: StorageAccess) => boolean;
  readonly #assertOpen: () => void;
  readonly #lines = new Map<string, Line>();
  readonly #parts: Participant[] = [];
  /** What a repeat with the same idempotency key is compared by. */
  readonly #calls: Call[] = [];
  /**
   * Something in it rests on what the caller has read: `save`, `check`, a deleted entry, an append
   * to a stream as it was loaded.
   */
  #restsOnReading = false;
  #home: Home | undefined;
  #committed = false;

  constructor(owns: (access: StorageAccess) => boolean, assertOpen: () => void) {
    super();
    this.#owns = owns;
    this.#assertOpen = assertOpen;
  }

  check(store: AnyStore, read: EntryInfo): this {
    const line = this.#line(store, read.key);
    this.#expectRead(line, read);
    this.#note('check', line);
    return this;
  }

  checkAbsent(store: AnyStore, key: Key): this {
    const line = this.#line(store, key);
    this.#expect(line, 'absent');
    this.#note('checkAbsent', line);
    return this;
  }

  add<T>(store: KeyValueStore<T>, key: Key, value: Input<T>, options?: { readonly ttlMs?: number }): this {
    assertOptions('add', options, ['ttlMs']);
    const line = this.#line(store, key);
    this.#expect(line, 'absent');
    line.added = true;
    return this.#put('add', store, key, value, options?.ttlMs, 'replace');
  }

  set<T>(
    store: KeyValueStore<T>,
    key: Key,
    value: Input<T>,
    options?: { readonly ttlMs?: number | 'keep' | 'never' },
  ): this {
    assertOptions('set', options, ['ttlMs']);
    return this.#put('set', store, key, value, options?.ttlMs, 'replace');
  }

  save<T>(store: KeyValueStore<T>, entry: Entry<T>): this {
    this.#expectRead(this.#line(store, entry.key), entry);
    return this.#put('save', store, entry.key, entry.value, undefined, 'keep');
  }

  delete(store: AnyStore, key: Key | EntryInfo): this {
    const read = isRead(key) ? key : undefined;
    const line = this.#line(store, read === undefined ? (key as Key) : read.key);
    if (read !== undefined) this.#expectRead(line, read);
    const { address } = line;
    this.#change(line, async () => ({ kind: 'delete', address }), true);
    this.#note('delete', line);
    return this;
  }

  include(part: CommitParticipant): this {
    if (!(part instanceof Participant))
      throw isOfAnotherCopy(part, Participant)
        ? anotherCopy('part')
        : invalidOption(`A batch includes parts, such as appending(…) answers; given was ${inspect(part)}.`);
    this.#settle(part.what, part.access, part.database);
    if (this.#parts.some(({ subject }) => subject === part.subject))
      throw invalidOption(`The ${part.what} is in this batch already: one commit changes one of them once.`);
    this.#parts.push(part);
    this.#restsOnReading ||= part.restsOnReading;
    this.#calls.push({ about: ['include', part.subject], whole: () => ['include', part.content()] });
    return this;
  }

  async commit(
    options?: CallOptions & { readonly idempotencyKey?: string | IdempotentCall | undefined },
  ): Promise<AtomicResult> {
    assertOptions('commit', options, ['signal', 'idempotencyKey']);
    const given = options?.idempotencyKey;
    const idempotency = idempotencyOf(given, typeof given === 'string' ? this.#content : undefined);
    const home = this.#home;
    if (idempotency === undefined || home === undefined)
      return this.#answer(await this.#commit(undefined, options?.signal));
    const { access, database } = home;
    const address = {
      database,
      container: batchMarks,
      entity: '',
      key: idempotencyRecordKey(idempotency.key),
    };
    const mark = new IdempotencyRecord({
      access,
      address,
      idempotency,
      retentionMs: defaultIdempotencyRetentionMs,
      answer: () => this.#recorded,
    });
    return this.#answer(await this.#commit(mark, options?.signal));
  }

  /** The same for another package of Kvent, with a mark of its own. */
  async [commitMarked](
    mark: IdempotencyRecord | undefined,
    signal: AbortSignal | undefined,
    onConflict: OnConflict | undefined,
  ): Promise<CommittedBatch | ReplayedBatch | undefined> {
    return await this.#commit(mark, signal, onConflict);
  }

  /** Whether there is nothing in it. */
  get [isEmpty](): boolean {
    return this.#lines.size === 0 && this.#parts.length === 0;
  }

  async #commit(
    mark: IdempotencyRecord | undefined,
    signal: AbortSignal | undefined,
    onConflict?: OnConflict,
  ): Promise<CommittedBatch | ReplayedBatch | undefined> {
    if (this.#committed) throw invalidState('This batch is already committed; begin another one.');
    this.#committed = true;
    throwIfAborted('A commit', signal);
    this.#assertOpen();
    const home = this.#home ?? mark;
    if (home === undefined) return undefined;
    const lines = [...this.#lines.values()];
    const checks: Check[] = lines.flatMap(({ address, expected }) =>
      expected === undefined ? [] : [{ address, expected }],
    );
    const changes = await Promise.all(
      lines.flatMap(({ change }) => (change === undefined ? [] : [change()])),
    );
    const participants = mark === undefined ? this.#parts : [mark, ...this.#parts];
    const refusal = (conflict: ConflictedBatch): Error => {
      const line = this.#lines.get(rowNameOf(conflict.address));
      return line?.added === true
        ? existsError(line.state, keyOf(line.address))
        : conflictError(conflict, 'own');
    };
    return await commitParticipants({
      access: home.access,
      database: home.database,
      own: { checks, changes },
      refusal,
      participants,
      onConflict,
      signal,
    });
  }

  #answer(outcome: CommittedBatch | ReplayedBatch | undefined): AtomicResult {
    if (outcome === undefined) return { replayed: false, changes: [] };
    const record = outcome.outcome === 'replayed' ? outcome.row : undefined;
    const version = outcome.outcome === 'replayed' ? outcome.row.version : outcome.version;
    // records of earlier releases hold no answer: what they answered were the keys of the repeat
    const { keys, deleted } =
      (record === undefined ? null : (idempotencyRecordIn(record).answer as RecordedChanges | null)) ??
      this.#recorded;
    const gone = new Set(deleted);
    const changes = keys.map((key, index) => ({
      key: decodeKey(key) ?? key,
      etag: gone.has(index) ? undefined : version,
    }));
    return { replayed: record !== undefined, changes };
  }

  get #recorded(): RecordedChanges {
    const changed = [...this.#lines.values()].filter(({ change }) => change !== undefined);
    return {
      keys: changed.map(({ address }) => address.key),
      deleted: changed.flatMap(({ deletes }, index) => (deletes ? [index] : [])),
    };
  }

  /**
   * What the caller gave. Where something rests on a reading, a repeat reads again and has other
   * etags, and other values made of what it has read: then only the verbs and the rows are
   * compared.
   */
  get #content(): unknown {
    return this.#calls.map(({ about, whole }) => (this.#restsOnReading ? about : whole()));
  }

  #note(verb: string, { address: { container, entity, key } }: Line, given?: () => readonly unknown[]): void {
    const about = [verb, container, entity, key];
    this.#calls.push({ about, whole: () => (given === undefined ? about : [...about, ...given()]) });
  }

  #put<T>(
    verb: string,
    store: KeyValueStore<T>,
    key: Key,
    value: Input<T>,
    ttlMs: number | 'keep' | 'never' | undefined,
    expiry: 'replace' | 'keep',
  ): this {
    const line = this.#line(store, key);
    const rows = rowsOf(store);
    const ttl: TimeToLive = ttlOf('An atomic write', ttlMs, rows.state.ttlMs, expiry);
    // encoded now, so that what the caller changes later is not what is stored; an error waits for
    // commit()
    const encoding = (async () => await rows.codec.encode(key, value))();
    encoding.catch(() => undefined);
    const { address } = line;
    this.#change(line, async () => ({ kind: 'put', address, value: (await encoding).stored, ttl }), false);
    const { state } = rows;
    // what was given, before the schema adds to it: a new default turns no repeat away
    const content = (): unknown =>
      JSON.parse(
        encodeValue(value, () => `${state.name} ${inspect(key)}`, {
          prototype: state.prototype,
          schemaVersion: 1,
        }).text,
      );
    this.#note(verb, line, () => [content(), ttlMs ?? null]);
    return this;
  }

  #line(store: AnyStore, key: Key): Line {
    const rows = rowsOf(store);
    const address = rows.address(key);
    this.#settle(`state '${rows.state.name}'`, rows.access, address.database);
    const name = rowNameOf(address);
    let line = this.#lines.get(name);
    if (line === undefined) {
      line = {
        address,
        state: rows.state.name,
        expected: undefined,
        added: false,
        change: undefined,
        deletes: false,
      };
      this.#lines.set(name, line);
    }
    return line;
  }

  #expectRead(line: Line, read: EntryInfo): void {
    this.#expect(line, { version: etagIn(read) });
    this.#restsOnReading = true;
  }

  /** The last change of a row counts, in its place. */
  #change(line: Line, change: () => Promise<Change>, deletes: boolean): void {
    const name = rowNameOf(line.address);
    this.#lines.delete(name);
    this.#lines.set(name, line);
    line.change = change;
    line.deletes = deletes;
  }

  #expect(line: Line, expected: Expected): void {
    if (line.expected !== undefined && JSON.stringify(line.expected) !== JSON.stringify(expected)) {
      throw invalidOption(
        `The batch checks ${inspect(keyOf(line.address))} twice, and differently: no commit could meet both.`,
      );
    }
    line.expected = expected;
  }

  /** What is added first says where the batch belongs; another place is refused, naming both. */
  #settle(what: string, access: StorageAccess, database: string): void {
    if (!this.#owns(access))
      throw invalidOption(
        `The ${what} belongs to another storage, or another transaction, than this batch. Inside a transaction of your own, take within(transaction) of each store and stream.`,
      );
    const place = (where: string, provider: StorageAccess): string =>
      `${where} on provider '${provider.provider.name}'`;
    this.#home ??= { access, database, what };
    const home = this.#home;
    if (home.access !== access || home.database !== database) {
      throw invalidOption(
        `One commit holds the rows of one tenant and one provider: ${home.what} is in ${place(home.database, home.access)}, ${what} in ${place(database, access)}.`,
      );
    }
  }
}

/** A batch for what belongs to one engine. */
export const atomicOn = (access: StorageAccess): AtomicBatch =>
  new Atomic(
    (each) => each === access,
    () => access.assertOpen(),
  );

/**
 * Commits a batch with a mark of the caller's own; `undefined` when there was nothing to commit.
 * For packages that build on batches.
 */
export async function commitAtomic(
  batch: AtomicBatch,
  mark: IdempotencyRecord | undefined,
  signal: AbortSignal | undefined,
  onConflict?: OnConflict,
): Promise<CommittedBatch | ReplayedBatch | undefined> {
  return await ownBatch(batch)[commitMarked](mark, signal, onConflict);
}

/** Whether nothing was put into a batch. */
export const isEmptyBatch = (batch: AtomicBatch): boolean => ownBatch(batch)[isEmpty];

function ownBatch(batch: AtomicBatch): Atomic {
  if (batch instanceof Atomic) return batch;
  throw isOfAnotherCopy(batch, Atomic)
    ? anotherCopy('batch')
    : invalidOption(`A batch is what atomic() answered; given was ${inspect(batch)}.`);
}

const isRead = (given: Key | EntryInfo): given is EntryInfo =>
  typeof given === 'object' && given !== null && 'etag' in given;

function rowsOf(store: AnyStore): StateRows<unknown> {
  if (store instanceof TypedStore) return (store as TypedStore<unknown>)[storeRows];
  throw isOfAnotherCopy(store, TypedStore)
    ? anotherCopy('store')
    : invalidOption(`A batch takes stores of its own storage; given was ${inspect(store)}.`);
}

/** A process may hold a package twice, each with classes of its own. */
function isOfAnotherCopy(given: unknown, known: { readonly name: string }): boolean {
  if (typeof given !== 'object' || given === null) return false;
  for (let kind: unknown = Object.getPrototypeOf(given); kind !== null; kind = Object.getPrototypeOf(kind))
    if ((kind as { readonly constructor?: { readonly name?: string } }).constructor?.name === known.name)
      return true;
  return false;
}

const anotherCopy = (what: string): Error =>
  invalidOption(
    `This ${what} is of another copy of @kvent/key-value-storage: this process has loaded the package twice. Install one version of it (\`npm ls @kvent/key-value-storage\`).`,
  );
