/**
 * The `EventStream` of applications. Each method checks its arguments, determines the tenant, and
 * calls the code of its verb.
 */
import type { CallOptions, CommitParticipant } from '@kvent/key-value-storage/core';
import { invalidOption, throwIfAborted } from '@kvent/key-value-storage/provider';
import {
  assertOptions,
  commitParticipants,
  databaseOf,
  idempotencyOf,
  idempotencyRecordIn,
  idempotencyRecordKey,
  inspect,
  isDate,
  outOfRange,
} from '@kvent/key-value-storage/internal';
import { AppendParticipant } from './append-participant.js';
import { appendResult } from './events/append-result.js';
import type { CallCounters, StreamContext } from './context/stream-context.js';
import {
  EventStream,
  type Appended,
  type AppendOptions,
  type AppendResult,
  type EventRange,
  type ExpectedVersion,
  type Loaded,
  type PointInTime,
  type Recorded,
  type SessionOptions,
  type StreamPage,
  type StreamPageRequest,
  type StreamSession,
  type TransactOptions,
  type VersionRange,
} from './definition/event-stream.js';
import {
  assertRequestedVersion,
  assertVersion,
  type AnyEvent,
  type AnyStream,
  type EventInputOf,
  type EventOf,
  type StateOf,
} from './definition/stream-definition.js';
import { streamError } from './definition/stream-errors.js';
import { deleteStream } from './delete-stream.js';
import { givenEvents, type EncodedEvents } from './events/event-codec.js';
import { loadedOf } from './events/loaded-stream.js';
import { positionOf, versionAt } from './events/event-rows.js';
import { loadStream, type LoadResult } from './events/load-stream.js';
import { assertEventRange, readEvents } from './events/read-events.js';
import { pageStreams } from './page-streams.js';
import { expectationOf, type Expectation } from './rows/expectations.js';
import { headIn, readHead } from './rows/head.js';
import { deletedError, notFoundError } from './rows/stream-conflicts.js';
import type { StreamRows } from './rows/stream-rows.js';
import { openSession } from './sessions/open-session.js';
import { unlockStream } from './sessions/unlock-stream.js';
import { snapshotEach } from './snapshot-each.js';
import { clearSnapshots, crossesInterval, putSnapshot, snapshotVersions } from './snapshots/snapshot-rows.js';
import { transact, type AnyDecide } from './transact.js';

const nothing = { checks: [], changes: [] };
const appendNames = ['expectedVersion', 'ifMatch', 'idempotencyKey', 'metadata', 'signal'];

export class StoredStream<D extends AnyStream> extends EventStream<D> {
  readonly #context: StreamContext;
  /**
   * The database of the current tenant. Each call asks once; its retries and pages keep the answer.
   */
  readonly #database: () => string;

  constructor(context: StreamContext, database: () => string) {
    super();
    this.#context = context;
    this.#database = database;
  }

  // ─── reading

  async load(id: string, options?: CallOptions & PointInTime): Promise<Loaded<StateOf<D>>> {
    const rows = this.#rows(id);
    return this.#loaded(rows, await this.#load(rows, options));
  }

  async loadOrThrow(id: string, options?: CallOptions & PointInTime): Promise<Loaded<StateOf<D>>> {
    const rows = this.#rows(id);
    const loaded = await this.#load(rows, options);
    if (loaded.head.kind === 'deleted') throw deletedError(rows);
    if (loaded.head.version === 0 || (options?.atTime !== undefined && loaded.version === 0))
      throw notFoundError(rows);
    return this.#loaded(rows, loaded);
  }

  read(id: string, range: CallOptions & EventRange = {}): AsyncIterable<Recorded<EventOf<D>>> {
    const rows = this.#rows(id);
    assertEventRange(range);
    const ofCall = { ...range };
    // each reading joins the transaction in which it begins; the codec has checked that the events
    // are those of the definition
    const begin = () => readEvents(rows.joined, ofCall) as AsyncIterator<Recorded<EventOf<D>>>;
    return { [Symbol.asyncIterator]: begin };
  }

  async version(id: string, options?: CallOptions): Promise<number> {
    assertOptions('version', options, ['signal']);
    const rows = this.#rows(id);
    const head = await readHead(rows, options?.signal);
    return head.kind === 'deleted' ? 0 : head.version;
  }

  async page(request?: StreamPageRequest, options?: CallOptions): Promise<StreamPage> {
    assertOptions('page', options, ['signal']);
    const { access, definition } = this.#context;
    return await pageStreams(access, definition, this.#database(), request, options?.signal);
  }

  async findByIdempotencyKey(
    id: string,
    key: string,
    options?: CallOptions,
  ): Promise<VersionRange | undefined> {
    assertOptions('findByIdempotencyKey', options, ['signal']);
    const rows = this.#rows(id);
    const idempotency = idempotencyOf(key);
    if (idempotency === undefined)
      throw invalidOption('findByIdempotencyKey: key must be a string; got undefined.');
    const address = rows.idempotencyRecord(idempotencyRecordKey(idempotency.key));
    const {
      rows: [head, record],
    } = await rows.access.read([rows.head, address], options);
    if (headIn(rows.head, head).kind === 'deleted') throw deletedError(rows);
    return record === undefined ? undefined : (idempotencyRecordIn(record).result as VersionRange);
  }

  async findByIdempotencyKeyOrThrow(id: string, key: string, options?: CallOptions): Promise<VersionRange> {
    const loaded = await this.findByIdempotencyKey(id, key, options);
    if (loaded !== undefined) return loaded;
    const rows = this.#rows(id);
    const message = `The idempotency key ${inspect(key)} of the ${rows.name} was not loaded: it was never used, or its record has expired.`;
    throw streamError('IDEMPOTENCY_KEY_NOT_FOUND', message, { stream: rows.path, idempotencyKey: key });
  }

  // ─── writing

  async transact(
    id: string,
    decide: Parameters<EventStream<D>['transact']>[1],
    options?: TransactOptions<StateOf<D>, EventOf<D>>,
  ): Promise<Appended<StateOf<D>, EventOf<D>>> {
    const rows = this.#rows(id);
    // the compiler has checked `decide` and `sameCommit` against the definition
    const untyped = options as TransactOptions<unknown, AnyEvent>;
    const result = await transact(this.#context, rows, decide as AnyDecide, untyped);
    return result as Appended<StateOf<D>, EventOf<D>>;
  }

  async append(
    id: string,
    events: readonly EventInputOf<D>[],
    options: AppendOptions,
  ): Promise<AppendResult> {
    assertOptions('append', options, appendNames);
    const rows = this.#rows(id);
    const expectation = expectationOf('append', options, rows);
    const { signal } = options;
    throwIfAborted('append', signal);
    if (Array.isArray(events) && events.length === 0) {
      const head = await readHead(rows, signal);
      if (head.kind === 'deleted') throw deletedError(rows);
      return appendResult(head.version, false, undefined);
    }
    return await this.#context.observeCall('append', rows, (counters) => {
      // encoded once, as the events are now; each attempt sends the same
      const encoded = this.#context.encode(events, options.metadata);
      const attempt = () => this.#append(rows, events, encoded, expectation, options, counters);
      if (!isUnversioned(expectation)) return attempt();
      return rows.access.retryWithLock(rows.lockName, { ...rows.access.retry, signal }, attempt);
    });
  }

  appending(
    target: string | Loaded<StateOf<D>>,
    events: readonly EventInputOf<D>[],
    options?: { readonly expectedVersion: ExpectedVersion },
  ): CommitParticipant {
    const participant = (rows: StreamRows, expectation: Expectation): CommitParticipant => {
      // an error is thrown by the commit
      const encoded = (async () => await this.#context.encode(events, undefined))();
      return this.#participant(rows, encoded, expectation, [rows.path, events]);
    };
    if (typeof target === 'string') {
      assertOptions('appending', options, ['expectedVersion']);
      const rows = this.#rows(target);
      return participant(rows, expectationOf('appending', options, rows));
    }
    if (typeof target !== 'object' || (target as unknown) === null || typeof target.id !== 'string')
      throw invalidOption(`appending takes an id or a loaded stream; got ${inspect(target)}.`);
    if (options !== undefined)
      throw invalidOption('appending to a loaded stream takes no options: its version is the check.');
    if (!Number.isSafeInteger(target.version) || target.version < 0)
      throw invalidOption(
        `appending: the version of a loaded stream must be a whole number from 0; got ${inspect(target.version)}.`,
      );
    return participant(this.#rows(target.id), { expected: target.version, by: 'loaded' });
  }

  async delete(id: string, options?: CallOptions & { readonly expectedVersion?: number }): Promise<boolean> {
    return await deleteStream(this.#rows(id), options);
  }

  // ─── sessions

  async openSession(id: string, options?: SessionOptions): Promise<StreamSession<D>> {
    // states and events of the session are those of the definition
    return (await openSession(this.#context, this.#rows(id), options)) as unknown as StreamSession<D>;
  }

  async session<R>(
    id: string,
    work: (session: StreamSession<D>) => Promise<R>,
    options?: SessionOptions,
  ): Promise<R> {
    if (typeof work !== 'function')
      throw invalidOption(`session: work must be a function; got ${inspect(work)}.`);
    await using session = await this.openSession(id, options);
    return await work(session);
  }

  async unlock(id: string, options?: CallOptions): Promise<boolean> {
    return await unlockStream(this.#context, this.#rows(id), options);
  }

  // ─── snapshots

  async snapshot(id: string, options?: CallOptions & { readonly atVersion?: number }): Promise<number> {
    assertOptions('snapshot', options, ['signal', 'atVersion']);
    const rows = this.#rows(id);
    const loaded = await this.#load(rows, options);
    if (loaded.head.kind === 'deleted') throw deletedError(rows);
    if (loaded.version === 0) throw notFoundError(rows);
    if (!(await putSnapshot(rows, loaded, options?.signal))) throw deletedError(rows);
    this.#context.emit(rows, { event: 'snapshot created', version: loaded.version });
    return loaded.version;
  }

  async snapshotAll(
    id: string,
    options: CallOptions & { readonly every: number },
  ): Promise<readonly number[]> {
    assertOptions('snapshotAll', options, ['signal', 'every']);
    assertVersion('snapshotAll', 'every', (options as Partial<typeof options> | undefined)?.every);
    return await snapshotEach(this.#context, this.#rows(id), options);
  }

  async snapshotVersions(id: string, options?: CallOptions): Promise<readonly number[]> {
    assertOptions('snapshotVersions', options, ['signal']);
    return await snapshotVersions(this.#rows(id), options?.signal);
  }

  async clearSnapshots(id: string, options?: CallOptions & { readonly version?: number }): Promise<number> {
    assertOptions('clearSnapshots', options, ['signal', 'version']);
    const rows = this.#rows(id);
    const signal = options?.signal;
    if (options === undefined || !('version' in options))
      return await clearSnapshots(rows, await snapshotVersions(rows, signal), signal);
    const { version } = options;
    assertRequestedVersion('clearSnapshots', 'version', version);
    const cleared = await clearSnapshots(rows, [version], signal);
    if (cleared > 0) return cleared;
    const message = `The ${rows.name} has no snapshot at version ${version}.`;
    throw streamError('SNAPSHOT_NOT_FOUND', message, { stream: rows.path, version });
  }

  // ─── other scopes

  forTenant(tenant: string): EventStream<D> {
    const { definition } = this.#context;
    const database = databaseOf(tenant);
    if (definition.scope === 'shared')
      throw invalidOption(`The stream '${definition.type}' is shared and has no tenants.`);
    return new StoredStream<D>(this.#context, () => database);
  }

  within(transaction: object): EventStream<D> {
    return new StoredStream<D>(this.#context.within(transaction), this.#database);
  }

  // ─── internals

  #rows(id: string): StreamRows {
    return this.#context.rows(this.#database(), id);
  }

  /** One attempt of an append. A loop around it retries appends that expect no version. */
  async #append(
    rows: StreamRows,
    events: readonly EventInputOf<D>[],
    encoded: EncodedEvents,
    expectation: Expectation,
    { idempotencyKey, signal }: AppendOptions,
    counters: CallCounters,
  ): Promise<AppendResult> {
    counters.attempts += 1;
    // the expected version is not part of the content: a repeat of the caller's work reads a later
    // one
    const participant = this.#participant(rows, encoded, expectation, [events]);
    const record = this.#context.idempotencyRecord(
      rows,
      idempotencyKey,
      [events],
      () => participant.versions,
      () => givenEvents(rows.definition, events, encoded),
    );
    const outcome = await commitParticipants({
      access: rows.access,
      database: rows.database,
      own: nothing,
      participants: record === undefined ? [participant] : [record, participant],
      retries: !isUnversioned(expectation),
      signal,
    });
    if (outcome.outcome === 'committed')
      return appendResult(participant.versions.to, false, outcome.position);
    const { to: version } = idempotencyRecordIn(outcome.row).result as VersionRange;
    const position = await positionOf(rows, version, signal);
    this.#context.reportPosition(rows, position);
    return appendResult(version, true, position);
  }

  #participant(
    rows: StreamRows,
    events: EncodedEvents,
    expectation: Expectation,
    content: unknown,
  ): AppendParticipant {
    return new AppendParticipant({
      rows,
      events,
      expectation,
      content,
      sending: (before) => this.#context.onSending(rows, before),
      committed: (append) => {
        const after = append.before + append.events.length;
        if (after === append.before) return;
        this.#context.onAppended(rows, append);
        if (crossesInterval(rows.definition.snapshot.every, append.before, after))
          this.#snapshotLater(rows, after);
      },
    });
  }

  /** In the background: an append does not know the state of the stream. */
  #snapshotLater(rows: StreamRows, atVersion: number): void {
    const { observer, access } = this.#context;
    if (access.inTransaction) return;
    this.#context.runDetached(rows, async () => {
      try {
        const loaded = await loadStream(rows, { observer, signal: undefined, atVersion });
        if (loaded.version > 0 && (await putSnapshot(rows, loaded, undefined)))
          this.#context.emit(rows, { event: 'snapshot created', version: atVersion });
      } catch (cause) {
        const reason = 'it could not be written';
        this.#context.emit(rows, { event: 'snapshot ignored', version: atVersion, reason, cause });
      }
    });
  }

  async #load(rows: StreamRows, options: (CallOptions & PointInTime) | undefined): Promise<LoadResult> {
    assertOptions('load', options, ['signal', 'atVersion', 'atTime']);
    const { atVersion, atTime, signal } = options ?? {};
    if (atVersion !== undefined && atTime !== undefined)
      throw invalidOption('load takes either atVersion or atTime, not both.');
    assertPoint(atVersion, atTime);
    throwIfAborted('load', signal);
    const { observer } = this.#context;
    return await this.#context.observeCall('load', rows, async (counters) => {
      counters.attempts = 1;
      const version = atTime === undefined ? atVersion : await versionAt(rows, atTime.getTime(), signal);
      const loaded = await loadStream(rows, { observer, signal, atVersion: version });
      counters.events = loaded.replayed;
      counters.snapshot = loaded.snapshotVersion > 0 ? 'hit' : 'miss';
      return loaded;
    });
  }

  #loaded(rows: StreamRows, { state, version }: LoadResult): Loaded<StateOf<D>> {
    return loadedOf(rows, { id: rows.id, state: state as StateOf<D>, version });
  }
}

/** An append that expects no version waits for the stream's lock, so that it rarely conflicts. */
const isUnversioned = ({ expected }: Expectation): boolean => expected === 'any' || expected === 'present';

/**
 * `OUT_OF_RANGE` for a number that is no version and for an invalid date, which clients may send;
 * `INVALID_OPTION` for other types.
 */
function assertPoint(atVersion: unknown, atTime: unknown): void {
  if (atVersion !== undefined && !(Number.isSafeInteger(atVersion) && (atVersion as number) >= 0)) {
    const error = typeof atVersion === 'number' ? outOfRange : invalidOption;
    throw error(`load: atVersion must be a whole number from 0; got ${inspect(atVersion)}.`);
  }
  if (atTime !== undefined && !isDate(atTime))
    throw invalidOption(`load: atTime must be a date; got ${inspect(atTime)}.`);
  if (atTime !== undefined && Number.isNaN(atTime.getTime()))
    throw outOfRange('load: atTime must be a valid date; got an invalid date.');
}
