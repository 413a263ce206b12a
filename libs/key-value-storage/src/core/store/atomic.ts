/** The batch of `storage.atomic()`: checks and changes are collected by row, and sent as one. */
import { throwIfAborted, untilAborted } from '../base/abort.js';
import {
  commitParticipants,
  Participant,
  type CommitParticipant,
  type ReplayedBatch,
} from '../commit/participant.js';
import {
  conflictError,
  existsError,
  keyOf,
  notFoundError,
  type CommittedBatch,
  type ConflictedBatch,
  type Contribution,
} from '../commit/commit.js';
import type { RefusedBatch, StorageAccess } from '../commit/storage-access.js';
import type { OnConflict } from '../contention/held-locks.js';
import { rowNameOf } from '../port/row-name.js';
import { counterRowsOf, rowsOf, type AnyCounterStore } from './batch-stores.js';
import { CounterParticipant, type CountedRow } from './counter-participant.js';
import type { CounterVerb } from './counter-rows.js';
import type { DefinitionRows } from './definition-rows.js';
import { EntryInfo, type Entry } from './entry.js';
import { decodeKey } from '../encoding/key-encoding.js';
import { anotherCopy, isOfAnotherCopy } from '../base/another-copy.js';
import { withCaller } from '../base/call-site.js';
import { inspect } from '../base/inspect.js';
import type { Key } from '../base/key.js';
import type { CallOptions } from './call-options.js';
import {
  AtomicBatch,
  type AnyStore,
  type AtomicCondition,
  type AtomicCounterOptions,
  type AtomicResult,
  type AtomicWriteOptions,
  type KeyWithEtag,
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
import type { IndexedState } from './indexed-commit.js';
import { commitIndexedParticipants } from './indexed-participants.js';
import type { Address, Change, Check, Expected, RowAddress, TimeToLive } from '../port/storage-provider.js';
import { conditionOf, etagIn, isOneOf, restsOnReading, ttlOf, type OneOf } from './write-options.js';

type AnyRows = Pick<DefinitionRows<unknown>, 'access' | 'definition' | 'address' | 'indexed'>;

/**
 * Whose check a row has. 'own': by what was read, so a conflict is retried with the reading. The
 * others must fail again. 'caller': of an etag that the caller gave. 'add', 'replace': the verb.
 */
type CheckedBy = 'own' | 'caller' | 'add' | 'replace';

/** A row of the batch: what it must be, and its change. Values are encoded when they are added. */
interface RowOperation {
  readonly address: Address;
  /** In messages: the name of the state. */
  readonly state: string;
  /** `undefined` for a state without indexes. */
  readonly indexed: IndexedState | undefined;
  expected: Expected | OneOf | undefined;
  checkedBy: CheckedBy;
  change: (() => Promise<Change>) | undefined;
  deletes: boolean;
  counted: CountedRow | undefined;
}

/** A call on the batch, as idempotency keys compare it. */
interface RecordedCall {
  /** The verb, and the row or the participant. */
  readonly subject: readonly unknown[];
  /** With all that the caller gave. */
  readonly whole: () => readonly unknown[];
}

/**
 * The changes, as the idempotency record keeps them: encoded keys, which were deletions, and the
 * numbers of counters.
 */
interface RecordedChanges {
  readonly keys: readonly string[];
  readonly deleted: readonly number[];
  readonly values?: readonly (number | bigint | null)[];
}

/** Records of whole batches. Those of streams and states have containers with a name. */
const batchRecords = 'mark:';

/** On a batch, for other packages of Kvent: the commit with a record of their own. */
const commitRecorded = Symbol('kvent.commit-recorded');
const isEmpty = Symbol('kvent.is-empty');

/** What everything in a batch must share. */
interface BatchLocation {
  readonly access: StorageAccess;
  readonly database: string;
  /** In messages: what was added first. */
  readonly what: string;
}

export class Atomic extends AtomicBatch {
  readonly #owns: (access: StorageAccess) => boolean;
  readonly #assertOpen: () => void;
  readonly #operations = new Map<string, RowOperation>();
  readonly #participants: Participant[] = [];
  /** What a repeat with the same idempotency key is compared by. */
  readonly #calls: RecordedCall[] = [];
  /**
   * Whether a check is by what the caller has read: `save`, `ifMatch` or `check` of an entry,
   * `delete(entry)` …
   */
  #restsOnReading = false;
  #location: BatchLocation | undefined;
  #committed = false;
  /** The counters of a commit with an idempotency key. */
  #counting: CounterParticipant | undefined;
  /** The changes of the batch beside its participants, those of indexes last. */
  #changesSent = 0;

  constructor(owns: (access: StorageAccess) => boolean, assertOpen: () => void) {
    super();
    this.#owns = owns;
    this.#assertOpen = assertOpen;
  }

  check(store: AnyStore, read: KeyWithEtag): this {
    const operation = this.#operation(store, read.key);
    this.#expectRead(operation, read);
    this.#record('check', operation);
    return this;
  }

  checkAbsent(store: AnyStore, key: Key): this {
    const operation = this.#operation(store, key);
    this.#expect(operation, 'absent', 'own');
    this.#record('checkAbsent', operation);
    return this;
  }

  add(store: AnyStore, key: Key, value: unknown, options?: { readonly ttlMs?: number }): this {
    assertOptions('add', options, ['ttlMs']);
    this.#expect(this.#operation(store, key), 'absent', 'add');
    return this.#put('add', store, key, value, options?.ttlMs, 'replace');
  }

  set(store: AnyStore, key: Key, value: unknown, options?: AtomicWriteOptions & AtomicCondition): this {
    assertOptions('set', options, ['ttlMs', 'ifMatch']);
    this.#expectCondition(this.#operation(store, key), options);
    return this.#put('set', store, key, value, options?.ttlMs, 'replace');
  }

  replace(store: AnyStore, key: Key, value: unknown, options?: AtomicWriteOptions): this {
    assertOptions('replace', options, ['ttlMs']);
    this.#expect(this.#operation(store, key), 'present', 'replace');
    return this.#put('replace', store, key, value, options?.ttlMs, 'replace');
  }

  save(store: AnyStore, entry: Entry<unknown>): this {
    this.#expectRead(this.#operation(store, entry.key), entry);
    return this.#put('save', store, entry.key, entry.value, undefined, 'keep');
  }

  delete(store: AnyStore, key: Key | KeyWithEtag, options?: AtomicCondition): this {
    assertOptions('delete', options, ['ifMatch']);
    const read = isRead(key) ? key : undefined;
    const operation = this.#operation(store, read === undefined ? (key as Key) : read.key);
    this.#expectCondition(operation, options);
    if (read !== undefined) this.#expectRead(operation, read);
    const { address } = operation;
    this.#change(operation, async () => ({ kind: 'delete', address }), true);
    this.#record('delete', operation);
    return this;
  }

  increment(store: AnyCounterStore, key: Key, by?: number | bigint, options?: AtomicCounterOptions): this {
    return this.#count('increment', store, key, by, options);
  }

  decrement(store: AnyCounterStore, key: Key, by?: number | bigint, options?: AtomicCounterOptions): this {
    return this.#count('decrement', store, key, by, options);
  }

  raiseTo(store: AnyCounterStore, key: Key, atLeast: number | bigint, options?: AtomicCounterOptions): this {
    return this.#count('raiseTo', store, key, atLeast, options);
  }

  lowerTo(store: AnyCounterStore, key: Key, atMost: number | bigint, options?: AtomicCounterOptions): this {
    return this.#count('lowerTo', store, key, atMost, options);
  }

  include(participant: CommitParticipant): this {
    if (!(participant instanceof Participant))
      throw isOfAnotherCopy(participant, Participant)
        ? withCaller(anotherCopy('This participant'))
        : invalidOption(`include takes what appending(…) returns; got ${inspect(participant)}.`);
    this.#assertNotCommitted();
    const { what, access, database, subject } = participant;
    this.#assertLocation(what, access, database);
    if (this.#participants.some((other) => other.subject === subject))
      throw invalidOption(`The ${what} is already in this batch; one commit changes it once.`);
    this.#participants.push(participant);
    this.#restsOnReading ||= participant.restsOnReading;
    this.#calls.push({ subject: ['include', subject], whole: () => ['include', participant.content()] });
    return this;
  }

  async commit(
    options?: CallOptions & { readonly idempotencyKey?: string | IdempotentCall | undefined },
  ): Promise<AtomicResult> {
    assertOptions('commit', options, ['signal', 'idempotencyKey']);
    const given = options?.idempotencyKey;
    const idempotency = idempotencyOf(given, typeof given === 'string' ? this.#content : undefined);
    const location = this.#location;
    if (idempotency === undefined || location === undefined)
      return this.#resultOf(await this.#commit(undefined, options?.signal));
    const { access, database } = location;
    const address = {
      database,
      container: batchRecords,
      entity: '',
      key: idempotencyRecordKey(idempotency.key),
    };
    const record = new IdempotencyRecord({
      access,
      address,
      idempotency,
      retentionMs: defaultIdempotencyRetentionMs,
      result: () => this.#recorded('none'),
    });
    return this.#resultOf(await this.#commit(record, options?.signal));
  }

  /** For other packages of Kvent, with a record of their own. */
  async [commitRecorded](
    record: IdempotencyRecord | undefined,
    signal: AbortSignal | undefined,
    onConflict: OnConflict | undefined,
  ): Promise<CommittedBatch | ReplayedBatch | undefined> {
    return await this.#commit(record, signal, onConflict);
  }

  get [isEmpty](): boolean {
    return this.#operations.size === 0 && this.#participants.length === 0;
  }

  async #commit(
    record: IdempotencyRecord | undefined,
    signal: AbortSignal | undefined,
    onConflict?: OnConflict,
  ): Promise<CommittedBatch | ReplayedBatch | undefined> {
    this.#assertNotCommitted();
    this.#committed = true;
    throwIfAborted('A commit', signal);
    this.#assertOpen();
    const location = this.#location ?? record;
    if (location === undefined) return undefined;
    const operations = [...this.#operations.values()];
    const lists = operations.filter(({ expected }) => isOneOf(expected));
    const versions = lists.length === 0 ? [] : await versionsOf(location.access, lists, signal);
    const checks = operations.flatMap((each) => checkOf(each, versions[lists.indexOf(each)]));
    const counted = operations.flatMap(({ counted: row }) => row ?? []);
    if (record !== undefined && counted.length > 0)
      this.#counting = new CounterParticipant(location.access, location.database, counted);
    const beside = this.#counting === undefined ? operations : operations.filter((each) => !each.counted);
    const changing = Promise.all(beside.flatMap(({ change }) => (change === undefined ? [] : [change()])));
    const changes = await untilAborted('A commit', 'none', signal, changing);
    const participants = [record, this.#counting, ...this.#participants].filter((each) => each !== undefined);
    const refusal = (conflict: ConflictedBatch): Error =>
      refusalOf(conflict, this.#operations.get(rowNameOf(conflict.address)));
    const { access, database } = location;
    const own = { checks, changes };
    this.#changesSent = changes.length;
    const refused = (batch: RefusedBatch): Error =>
      refusedError(batch, this.#operations.get(rowNameOf(batch.address)));
    const batch = { access, database, own, refusal, refused, participants, onConflict, signal };
    const hasIndexes = operations.some(
      ({ indexed, change }) => indexed !== undefined && change !== undefined,
    );
    if (!hasIndexes) return await commitParticipants(batch);
    const indexedState = (address: RowAddress): IndexedState | undefined =>
      this.#operations.get(rowNameOf(address))?.indexed;
    const onSend = (whole: Contribution): void => void (this.#changesSent = whole.changes.length);
    return await commitIndexedParticipants(batch, { indexedState }, onSend);
  }

  #resultOf(outcome: CommittedBatch | ReplayedBatch | undefined): AtomicResult {
    if (outcome === undefined) return { replayed: false, changes: [] };
    if (outcome.outcome === 'committed') this.#noteNumbers(outcome);
    const record = outcome.outcome === 'replayed' ? outcome.row : undefined;
    const version = outcome.outcome === 'replayed' ? outcome.row.version : outcome.version;
    // records of earlier releases hold no result: it was made of the keys of the repeat
    const { keys, deleted, values } =
      (record === undefined ? null : (idempotencyRecordIn(record).result as RecordedChanges | null)) ??
      this.#recorded('unknown');
    const deletions = new Set(deleted);
    const changes = keys.map((key, index) => ({
      key: decodeKey(key) ?? key,
      etag: deletions.has(index) ? undefined : version,
      ...valueAt(values, index),
    }));
    return { replayed: record !== undefined, changes };
  }

  /** The numbers of the counters that this commit has changed: those of participants come first. */
  #noteNumbers({ rows }: CommittedBatch): void {
    if (this.#counting !== undefined) return;
    const changed = [...this.#operations.values()].filter(({ change }) => change !== undefined);
    for (const [index, { counted }] of changed.entries())
      if (counted !== undefined) counted.number = rows[rows.length - this.#changesSent + index]?.number;
  }

  /** `effect`: of an error, 'none' before the commit is sent. */
  #recorded(effect: 'none' | 'unknown'): RecordedChanges {
    const changed = [...this.#operations.values()].filter(({ change }) => change !== undefined);
    const keys = changed.map(({ address }) => address.key);
    const deleted = changed.flatMap(({ deletes }, index) => (deletes ? [index] : []));
    if (!changed.some(({ counted }) => counted)) return { keys, deleted };
    const values = changed.map(({ counted }) =>
      counted?.number === undefined
        ? null
        : counted.rows.valueOf(counted.change.address, counted.number, effect),
    );
    return { keys, deleted, values };
  }

  /**
   * What the caller gave. Where it rests on reading, a repeat reads again and has other etags and
   * values: then only verbs and rows are compared.
   */
  get #content(): unknown {
    return this.#calls.map(({ subject, whole }) => (this.#restsOnReading ? subject : whole()));
  }

  #record(verb: string, { address }: RowOperation, given?: () => readonly unknown[]): void {
    const subject = [verb, address.container, address.entity, address.key];
    this.#calls.push({ subject, whole: () => (given === undefined ? subject : [...subject, ...given()]) });
  }

  #put(
    verb: string,
    store: AnyStore,
    key: Key,
    value: unknown,
    ttlMs: number | 'keep' | 'never' | undefined,
    expiry: 'replace' | 'keep',
  ): this {
    const operation = this.#operation(store, key);
    const rows = rowsOf(store);
    const ttl: TimeToLive = ttlOf('An atomic write', ttlMs, rows.state.ttlMs, expiry);
    // encoded now: later changes of the caller are not stored; `commit` throws an error
    const encoding = (async () => await rows.codec.encode(key, value))();
    encoding.catch(() => undefined);
    const { address } = operation;
    this.#change(
      operation,
      async () => ({ kind: 'put', address, value: (await encoding).stored, ttl }),
      false,
    );
    this.#record(verb, operation, () => [JSON.parse(rows.codec.given(key, value)), ttlMs ?? null]);
    return this;
  }

  #count(
    verb: CounterVerb,
    store: AnyCounterStore,
    key: Key,
    given: number | bigint | undefined,
    options: AtomicCounterOptions | undefined,
  ): this {
    assertOptions(verb, options, ['ttlMs']);
    const rows = counterRowsOf(store);
    const operation = this.#operationOn(rows, key);
    const change = rows.change(verb, operation.address, given, options?.ttlMs);
    // of two values the last counts, but no amount may be dropped
    if (operation.counted !== undefined)
      throw invalidOption(
        `The batch changes the counter ${rows.definition.name} ${inspect(key)} twice; add the amounts and change it once.`,
      );
    operation.counted = { rows, change, number: undefined };
    this.#change(operation, async () => change, false);
    this.#record(verb, operation, () => [String(change.operand), options?.ttlMs ?? null]);
    return this;
  }

  #operation(store: AnyStore, key: Key): RowOperation {
    return this.#operationOn(rowsOf(store), key);
  }

  #operationOn(rows: AnyRows, key: Key): RowOperation {
    this.#assertNotCommitted();
    const address = rows.address(key);
    const { kind, name: state } = rows.definition;
    this.#assertLocation(`${kind} '${state}'`, rows.access, address.database);
    const name = rowNameOf(address);
    let operation = this.#operations.get(name);
    if (operation === undefined) {
      operation = {
        address,
        state,
        indexed: rows.indexed,
        expected: undefined,
        checkedBy: 'own',
        change: undefined,
        deletes: false,
        counted: undefined,
      };
      this.#operations.set(name, operation);
    }
    return operation;
  }

  /** What was read is checked as such; an etag in a plain object is the caller's. */
  #expectRead(operation: RowOperation, read: KeyWithEtag): void {
    if (!(read instanceof EntryInfo)) return this.#expectCondition(operation, { ifMatch: read.etag });
    this.#expect(operation, { version: etagIn(read) }, 'own');
    this.#restsOnReading = true;
  }

  #expectCondition(operation: RowOperation, options: AtomicCondition | undefined): void {
    const condition = conditionOf(options, operation.address);
    if (condition !== undefined) this.#expect(operation, condition, 'caller');
    this.#restsOnReading ||= restsOnReading(options);
  }

  /** The last change of a row counts, and takes the last place. */
  #change(operation: RowOperation, change: () => Promise<Change>, deletes: boolean): void {
    const name = rowNameOf(operation.address);
    this.#operations.delete(name);
    this.#operations.set(name, operation);
    operation.change = change;
    operation.deletes = deletes;
  }

  #expect(operation: RowOperation, expected: Expected | OneOf, checkedBy: CheckedBy): void {
    if (operation.expected !== undefined && JSON.stringify(operation.expected) !== JSON.stringify(expected)) {
      throw invalidOption(
        `The batch has two different checks of ${inspect(keyOf(operation.address))}; no commit can meet both.`,
      );
    }
    operation.expected = expected;
    operation.checkedBy = checkedBy;
  }

  /** What is added later would be lost: `INVALID_STATE`. */
  #assertNotCommitted(): void {
    if (!this.#committed) return;
    throw invalidState(
      'This batch is already committed, and takes no more writes: begin another one, or await all work before the commit.',
    );
  }

  /** What is added first decides the location of the batch; another location is refused. */
  #assertLocation(what: string, access: StorageAccess, database: string): void {
    if (!this.#owns(access))
      throw invalidOption(
        `The ${what} belongs to another storage, or another transaction, than this batch. Inside your own transaction, use within(transaction) of each store and stream.`,
      );
    const nameOf = (each: Omit<BatchLocation, 'what'>): string =>
      `${each.database} on provider '${each.access.provider.name}'`;
    this.#location ??= { access, database, what };
    const location = this.#location;
    if (location.access !== access || location.database !== database) {
      throw invalidOption(
        `One commit holds rows of one tenant and one provider: ${location.what} is in ${nameOf(location)}, ${what} in ${nameOf({ access, database })}.`,
      );
    }
  }
}

/** The versions of rows that have one of several etags as their check. */
async function versionsOf(
  access: StorageAccess,
  operations: readonly RowOperation[],
  signal: AbortSignal | undefined,
): Promise<readonly (string | undefined)[]> {
  const addresses = operations.map(({ address }) => address);
  const { rows } = await access.read(addresses, { signal, values: 'omit' });
  return rows.map((row) => row?.version);
}

/**
 * The check of a row. Of several etags the one that the row has. A row that has none of them keeps
 * the first, so that the commit finds the conflict, after it has looked for its idempotency record.
 */
function checkOf({ address, expected }: RowOperation, version: string | undefined): readonly Check[] {
  if (expected === undefined) return [];
  if (!isOneOf(expected)) return [{ address, expected }];
  const known = version !== undefined && expected.versions.includes(version);
  return [{ address, expected: { version: known ? version : (expected.versions[0] ?? noVersion) } }];
}

/** Below every version that is made: an empty list of etags matches no row. */
const noVersion = '1';

function refusalOf(conflict: ConflictedBatch, operation: RowOperation | undefined): Error {
  if (operation?.checkedBy === 'add') return existsError(operation.state, keyOf(operation.address));
  if (operation?.checkedBy === 'replace') return notFoundError(operation.state, keyOf(operation.address));
  return conflictError(conflict, operation?.checkedBy === 'caller' ? 'caller' : 'own');
}

function refusedError({ address, reason }: RefusedBatch, operation: RowOperation | undefined): Error {
  if (operation?.counted !== undefined) return operation.counted.rows.refusal(operation.address, reason);
  return invalidOption(`The number at ${inspect(keyOf(address))} cannot be changed: ${reason}.`);
}

const valueAt = (values: RecordedChanges['values'], index: number): { readonly value?: number | bigint } => {
  const value = values?.[index] ?? undefined;
  return value === undefined ? {} : { value };
};

/** A batch for the stores and streams of one access. */
export const atomicOn = (access: StorageAccess): AtomicBatch =>
  new Atomic(
    (each) => each === access,
    () => access.assertOpen(),
  );

/** Commits a batch with a record of the caller's; `undefined` when the batch is empty. */
export async function commitAtomic(
  batch: AtomicBatch,
  record: IdempotencyRecord | undefined,
  signal: AbortSignal | undefined,
  onConflict?: OnConflict,
): Promise<CommittedBatch | ReplayedBatch | undefined> {
  return await ownBatch(batch)[commitRecorded](record, signal, onConflict);
}

export const isEmptyBatch = (batch: AtomicBatch): boolean => ownBatch(batch)[isEmpty];

function ownBatch(batch: AtomicBatch): Atomic {
  if (batch instanceof Atomic) return batch;
  throw isOfAnotherCopy(batch, Atomic)
    ? anotherCopy('This batch')
    : invalidOption(`A batch must be one that atomic() returned; got ${inspect(batch)}.`);
}

const isRead = (given: Key | KeyWithEtag): given is KeyWithEtag =>
  typeof given === 'object' && given !== null && 'etag' in given;
