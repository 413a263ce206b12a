/**
 * What users get as `EventStream`: each verb checks what it was given, fixes the tenant of the
 * moment, and goes its way.
 */
import { isConflict, type CommitParticipant, type CallOptions } from '@kvent/key-value-storage/core';
import { invalidOption, throwIfAborted } from '@kvent/key-value-storage/provider';
import {
  assertOptions,
  commitParticipants,
  databaseOf,
  inspect,
  idempotencyOf,
  isDate,
  idempotencyRecordIn,
  idempotencyRecordKey,
  outOfRange,
  type Participant,
} from '@kvent/key-value-storage/internal';
import { AppendParticipant } from './append-participant.js';
import { deleteStream } from './delete-stream.js';
import { encodeEvents, metadataOf } from './events/event-codec.js';
import {
  EventStream,
  type Appended,
  type AppendOptions,
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
import { expectationOf, type Expectation } from './rows/expectations.js';
import { headIn } from './rows/head.js';
import { loadedOf } from './events/loaded-stream.js';
import { loadStream, versionAt, type LoadResult } from './events/load-stream.js';
import { openSession } from './sessions/open-session.js';
import { pageStreams } from './page-streams.js';
import { assertEventRange, readEvents } from './events/read-events.js';
import { crossesInterval, putSnapshot, snapshotVersions } from './snapshots/snapshot-rows.js';
import { snapshotEach } from './snapshot-each.js';
import { deletedError, notFoundError } from './rows/stream-conflicts.js';
import type { StreamContext } from './context/stream-context.js';
import {
  assertAskedVersion,
  assertVersion,
  type AnyEvent,
  type AnyStream,
  type EventOf,
  type StateOf,
} from './definition/stream-definition.js';
import { streamError } from './definition/stream-errors.js';
import type { StreamRows } from './rows/stream-rows.js';
import { transact, type AnyDecide } from './transact.js';

const appendNames = ['expectedVersion', 'ifMatch', 'idempotencyKey', 'metadata', 'signal'];

export class StoredStream<D extends AnyStream> extends EventStream<D> {
  readonly #context: StreamContext;
  /**
   * The database of the moment. It is asked once a call, when the call is made: retries, later
   * pages and sessions keep it.
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
    return this.#loaded(rows, await this.#find(rows, options));
  }

  async loadOrThrow(id: string, options?: CallOptions & PointInTime): Promise<Loaded<StateOf<D>>> {
    const rows = this.#rows(id);
    const found = await this.#find(rows, options);
    if (found.head.kind === 'deleted') throw deletedError(rows);
    if (found.head.version === 0 || (options?.atTime !== undefined && found.version === 0))
      throw notFoundError(rows);
    return this.#loaded(rows, found);
  }

  read(id: string, range: CallOptions & EventRange = {}): AsyncIterable<Recorded<EventOf<D>>> {
    const rows = this.#rows(id);
    assertEventRange(range);
    // events of the definition: their codec has checked the types
    return { [Symbol.asyncIterator]: () => readEvents(rows, range) as AsyncGenerator<Recorded<EventOf<D>>> };
  }

  async version(id: string, options?: CallOptions): Promise<number> {
    assertOptions('version', options, ['signal']);
    const rows = this.#rows(id);
    const head = await this.#head(rows, options);
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
      throw invalidOption('findByIdempotencyKey takes a key; given was undefined.');
    const { access } = rows;
    const {
      rows: [head, mark],
    } = await access.read(
      [rows.head, rows.idempotencyRecord(idempotencyRecordKey(idempotency.key))],
      options,
    );
    if (headIn(rows.head, head).kind === 'deleted') throw deletedError(rows);
    return mark === undefined ? undefined : (idempotencyRecordIn(mark).answer as VersionRange);
  }

  async findByIdempotencyKeyOrThrow(id: string, key: string, options?: CallOptions): Promise<VersionRange> {
    const found = await this.findByIdempotencyKey(id, key, options);
    if (found !== undefined) return found;
    const rows = this.#rows(id);
    const message = `The idempotency key ${inspect(key)} is not known at the ${rows.name}: it was never used, or too long ago.`;
    throw streamError('IDEMPOTENCY_KEY_NOT_FOUND', message, { stream: rows.path, idempotencyKey: key });
  }

  // ─── writing

  async transact(
    id: string,
    decide: Parameters<EventStream<D>['transact']>[1],
    options?: TransactOptions<StateOf<D>, EventOf<D>>,
  ): Promise<Appended<StateOf<D>, EventOf<D>>> {
    const rows = this.#rows(id);
    // state and events are of the definition: the compiler has checked decide and sameCommit
    // against it
    const answer = await transact(
      this.#context,
      rows,
      decide as AnyDecide,
      options as TransactOptions<unknown, AnyEvent>,
    );
    return answer as Appended<StateOf<D>, EventOf<D>>;
  }

  async append(
    id: string,
    events: readonly EventOf<D>[],
    options: AppendOptions,
  ): Promise<{ readonly version: number; readonly replayed: boolean }> {
    assertOptions('append', options, appendNames);
    const context = this.#context;
    const rows = this.#rows(id);
    const expectation = expectationOf('append', options, rows);
    const { signal, metadata, idempotencyKey } = options;
    throwIfAborted('append', signal);
    const encoded = this.#encode(events, metadata);
    encoded.catch(() => undefined);
    if (events.length === 0)
      return { version: await this.#versionToAppendTo(rows, options), replayed: false };
    // appends that check no version queue for the stream's lock, below
    const locks = expectation.expected === 'any' || expectation.expected === 'present';
    return await context.observeCall('append', rows, async (counters) => {
      const attempt = async () => {
        counters.attempts += 1;
        const participant = this.#appendPart(rows, encoded, expectation, [events]);
        // the version expected is no part of the content: a repeat of the caller's work reads a
        // later one
        const mark = context.idempotencyRecord(rows, idempotencyKey, [events], () => participant.versions);
        const participants: readonly Participant[] = mark === undefined ? [participant] : [mark, participant];
        const outcome = await commitParticipants({
          access: rows.access,
          database: rows.database,
          own: { checks: [], changes: [] },
          participants,
          retries: !locks,
          signal,
        });
        if (outcome.outcome === 'committed') return { version: participant.versions.to, replayed: false };
        if ((await this.#head(rows, options)).kind === 'deleted') throw deletedError(rows);
        return { version: (idempotencyRecordIn(outcome.row).answer as VersionRange).to, replayed: true };
      };
      const counted = async () => {
        try {
          return await attempt();
        } catch (error) {
          if (isConflict(error)) counters.conflicts += 1;
          throw error;
        }
      };
      if (!locks) return await counted();
      return await rows.access.retryWithLock(rows.lockName, { ...rows.access.retry, signal }, counted);
    });
  }

  appending(
    given: string | Loaded<StateOf<D>>,
    events: readonly EventOf<D>[],
    options?: { readonly expectedVersion: ExpectedVersion },
  ): CommitParticipant {
    const encoded = (rows: StreamRows, expectation: Expectation): CommitParticipant =>
      this.#appendPart(rows, this.#encode(events, undefined), expectation, [rows.path, events]);
    if (typeof given === 'string') {
      assertOptions('appending', options, ['expectedVersion']);
      const rows = this.#rows(given);
      return encoded(rows, expectationOf('appending', options, rows));
    }
    if (typeof given !== 'object' || (given as unknown) === null || typeof given.id !== 'string')
      throw invalidOption(
        `appending takes an id, or a stream as it was loaded; given was ${inspect(given)}.`,
      );
    if (options !== undefined)
      throw invalidOption(
        'appending to a stream as it was loaded takes no options: its version is the check.',
      );
    if (!Number.isSafeInteger(given.version) || given.version < 0)
      throw invalidOption(
        `appending takes a stream as it was loaded; its version was ${inspect(given.version)}.`,
      );
    return encoded(this.#rows(given.id), { expected: given.version, by: 'loaded' });
  }

  async delete(id: string, options?: CallOptions & { readonly expectedVersion?: number }): Promise<boolean> {
    return await deleteStream(this.#rows(id), options);
  }

  // ─── sessions

  async openSession(id: string, options?: SessionOptions): Promise<StreamSession<D>> {
    // the session's states and events are of the definition
    return (await openSession(this.#context, this.#rows(id), options)) as unknown as StreamSession<D>;
  }

  async session<R>(
    id: string,
    work: (session: StreamSession<D>) => Promise<R>,
    options?: SessionOptions,
  ): Promise<R> {
    if (typeof work !== 'function')
      throw invalidOption(`session takes a function that works; given was ${inspect(work)}.`);
    await using session = await this.openSession(id, options);
    return await work(session);
  }

  // ─── snapshots

  async snapshot(id: string, options?: CallOptions & { readonly atVersion?: number }): Promise<number> {
    assertOptions('snapshot', options, ['signal', 'atVersion']);
    const rows = this.#rows(id);
    const found = await this.#find(rows, options);
    if (found.head.kind === 'deleted') throw deletedError(rows);
    if (found.version === 0) throw notFoundError(rows);
    if (!(await putSnapshot(rows, found, options?.signal))) throw deletedError(rows);
    this.#context.emit(rows, { event: 'snapshot created', version: found.version });
    return found.version;
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
    const { access, database } = rows;
    const one = options !== undefined && 'version' in options;
    if (one) assertAskedVersion('clearSnapshots', 'version', options.version);
    const versions = one ? [options.version] : await snapshotVersions(rows, options?.signal);
    let cleared = 0;
    for (let next = 0; next < versions.length; next += snapshotsAtOnce) {
      const changes = versions
        .slice(next, next + snapshotsAtOnce)
        .map((version) => ({ kind: 'delete', address: rows.snapshot(version) }) as const);
      const result = await access.commit(database, { checks: [], changes }, { signal: options?.signal });
      if (result.outcome === 'committed') cleared += result.rows.filter(({ existed }) => existed).length;
    }
    if (!one || cleared > 0) return cleared;
    const version = options.version;
    throw streamError('SNAPSHOT_NOT_FOUND', `The ${rows.name} has no snapshot at version ${version}.`, {
      stream: rows.path,
      version,
    });
  }

  // ─── elsewhere

  forTenant(tenant: string): EventStream<D> {
    const { definition } = this.#context;
    const database = databaseOf(tenant);
    if (definition.scope === 'shared')
      throw invalidOption(`The stream '${definition.type}' is shared: it has no tenants.`);
    return new StoredStream<D>(this.#context, () => database);
  }

  within(transaction: object): EventStream<D> {
    return new StoredStream<D>(this.#context.within(transaction), this.#database);
  }

  // ─── parts

  #rows(id: string): StreamRows {
    return this.#context.rows(this.#database(), id);
  }

  async #head(rows: StreamRows, options: CallOptions | undefined) {
    const { row } = await rows.access.readOne(rows.head, { signal: options?.signal });
    return headIn(rows.head, row);
  }

  async #versionToAppendTo(rows: StreamRows, options: CallOptions): Promise<number> {
    const head = await this.#head(rows, options);
    if (head.kind === 'deleted') throw deletedError(rows);
    return head.version;
  }

  #encode(events: readonly EventOf<D>[], metadata: Parameters<typeof metadataOf>[1]) {
    const { definition, settings } = this.#context;
    return (async () =>
      await encodeEvents(definition, events, metadataOf(settings.metadata?.(), metadata)))();
  }

  #appendPart(
    rows: StreamRows,
    events: ReturnType<typeof encodeEvents>,
    expectation: Expectation,
    content: unknown,
  ): AppendParticipant {
    return new AppendParticipant({
      rows,
      events,
      expectation,
      content,
      committed: (landing) => {
        const { before, after } = landing;
        if (after === before) return;
        this.#context.onAppended(rows, landing);
        if (crossesInterval(rows.definition.snapshot.every, before, after)) this.#snapshotLater(rows, after);
      },
    });
  }

  /** Off the request path: an append that has not loaded the stream does not know its state. */
  #snapshotLater(rows: StreamRows, version: number): void {
    const { observer, background, access } = this.#context;
    if (access.inTransaction) return;
    const write = async (): Promise<void> => {
      try {
        const found = await loadStream(rows, { observer, signal: undefined, atVersion: version });
        if (found.version > 0 && (await putSnapshot(rows, found, undefined)))
          this.#context.emit(rows, { event: 'snapshot created', version });
      } catch (cause) {
        this.#context.emit(rows, {
          event: 'snapshot ignored',
          version,
          reason: 'it could not be written',
          cause,
        });
      }
    };
    const work = access.detached(rows.database, write);
    background.add(work);
    void work.then(() => background.delete(work));
  }

  async #find(rows: StreamRows, options: (CallOptions & PointInTime) | undefined): Promise<LoadResult> {
    assertOptions('load', options, ['signal', 'atVersion', 'atTime']);
    const { atVersion, atTime, signal } = options ?? {};
    if (atVersion !== undefined && atTime !== undefined)
      throw invalidOption('load takes atVersion or atTime, not both.');
    assertPoint(atVersion, atTime);
    throwIfAborted('load', signal);
    const { observer } = this.#context;
    return await this.#context.observeCall('load', rows, async (counters) => {
      counters.attempts = 1;
      const version = atTime === undefined ? atVersion : await versionAt(rows, atTime.getTime(), signal);
      const found = await loadStream(rows, { observer, signal, atVersion: version });
      Object.assign(counters, {
        events: found.replayed,
        snapshot: found.snapshotVersion > 0 ? 'hit' : 'miss',
      });
      return found;
    });
  }

  #loaded(rows: StreamRows, { state, version }: LoadResult): Loaded<StateOf<D>> {
    return loadedOf(rows, { id: rows.id, state: state as StateOf<D>, version });
  }
}

/**
 * `OUT_OF_RANGE` for a number that is no version and for an invalid date, which clients may have
 * sent; `INVALID_OPTION` for other types.
 */
function assertPoint(atVersion: unknown, atTime: unknown): void {
  if (atVersion !== undefined && typeof atVersion !== 'number')
    throw invalidOption(`load: atVersion is a whole number from 0; given was ${inspect(atVersion)}.`);
  if (atVersion !== undefined && !(Number.isSafeInteger(atVersion) && atVersion >= 0))
    throw outOfRange(`load: atVersion is a whole number from 0; given was ${inspect(atVersion)}.`);
  if (atTime !== undefined && !isDate(atTime))
    throw invalidOption(`load: atTime is a date; given was ${inspect(atTime)}.`);
  if (atTime !== undefined && Number.isNaN(atTime.getTime()))
    throw outOfRange('load: atTime is a valid date; given was an invalid one.');
}

/** Snapshots that one batch removes. */
const snapshotsAtOnce = 500;
