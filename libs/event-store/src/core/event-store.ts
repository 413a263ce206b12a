/**
 * The streams of a storage. Nest injects it; without Nest: `new
 * EventStore(storage).stream(Orders)`; inside a transaction: `eventStore.within(manager)`.
 */
import type { Clock, KeyValueStorage } from '@kvent/key-value-storage/core';
import { invalidOption, resolveOptions, systemClock } from '@kvent/key-value-storage/provider';
import {
  assertOptions,
  assertTtl,
  atomicOn,
  defaultIdempotencyRetentionMs,
  joinedStore,
  locate,
  PendingWork,
} from '@kvent/key-value-storage/internal';
import type { EventStoreSettings, EventStream } from './definition/event-stream.js';
import type { EventFeedPage, FeedItem, FeedReadOptions, FeedWatchOptions } from './feed/event-feed.js';
import { readFeed, watchFeed } from './feed/read-feed.js';
import { NotificationOrder } from './context/notification-order.js';
import { SessionRegistry } from './context/session-registry.js';
import { assertSessionOptions, sessionDefaults, sessionOptionNames } from './sessions/session-options.js';
import { StoredStream } from './stored-stream.js';
import { StreamContext, type StreamSettings } from './context/stream-context.js';
import { streamDefinitionOf, type AnyStream, type ResolvedStream } from './definition/stream-definition.js';
import { safeObserver, type CommittedEvents, type StreamObserver } from './definition/stream-observer.js';

export interface EventStoreOptions extends EventStoreSettings {
  /**
   * For tests: the clock for deadlines of sessions and waits for locks. Leases expire by the clock
   * of the storage provider. @default the system clock
   */
  readonly clock?: Clock | undefined;
  /** For logs, traces and metrics. */
  readonly observer?: StreamObserver | undefined;
  /**
   * Called once with the events of each commit of this event store, in the order of their versions
   * within a stream: after the commit, and after the results of appends that were sent at lower
   * versions. It is called for the tenant of the commit, and outside the async context of the
   * caller where the storage is that of `KeyValueStorageModule`. What it throws is logged as
   * 'listener failed'. Not crash-safe: it is not called when the process ends before, or when the
   * outcome of the commit is unknown. Inside a transaction of the caller, it is called after the
   * commit of that transaction, where the provider reports it (Postgres), else not; after a
   * rollback it is not called. Of two transactions, the one whose commit is reported first is
   * first.
   */
  readonly committed?: CommittedEvents | undefined;
}

const names = ['metadata', 'session', 'idempotencyRetentionMs', 'clock', 'observer', 'committed'];

/** `INVALID_OPTION`; `owner` is the first word of its message. */
export function assertEventStoreOptions(owner: string, options: EventStoreOptions): void {
  if (options === undefined) throw invalidOption(`${owner} needs options: {}; got undefined.`);
  assertOptions(owner, options, names);
  const { session = {}, idempotencyRetentionMs = defaultIdempotencyRetentionMs, ...given } = options;
  for (const name of ['metadata', 'committed'] as const)
    if (given[name] !== undefined && typeof given[name] !== 'function')
      throw invalidOption(`${owner}: ${name} must be a function; got ${typeof given[name]}.`);
  assertSessionOptions(`${owner}: session`, session, sessionOptionNames);
  assertTtl(`${owner}: idempotencyRetentionMs`, idempotencyRetentionMs);
}

export class EventStore {
  readonly #storage: KeyValueStorage;
  readonly #settings: StreamSettings;
  readonly #observer: StreamObserver;
  readonly #clock: Clock;
  readonly #streams = new Map<ResolvedStream, EventStream<AnyStream>>();
  readonly #pending = new PendingWork();
  readonly #sessions = new SessionRegistry();
  #notifications = new NotificationOrder();
  readonly #options: EventStoreOptions;

  /** `INVALID_OPTION` for options that are not allowed. */
  constructor(storage: KeyValueStorage, options: EventStoreOptions = {}) {
    assertEventStoreOptions('EventStore', options);
    const {
      metadata,
      session = {},
      idempotencyRetentionMs = defaultIdempotencyRetentionMs,
      clock = systemClock,
      observer,
    } = options;
    this.#storage = storage;
    this.#options = options;
    this.#settings = {
      metadata,
      session: resolveOptions('EventStore: session', session, sessionDefaults),
      idempotencyRetentionMs,
    };
    this.#observer = safeObserver(observer);
    this.#clock = clock;
  }

  /**
   * The streams of one type. `INVALID_OPTION` for anything else than a definition, and an unknown
   * provider.
   */
  stream<D extends AnyStream>(definition: D): EventStream<D> {
    const resolved = streamDefinitionOf(definition);
    let stream = this.#streams.get(resolved);
    if (stream === undefined) this.#streams.set(resolved, (stream = this.#create(resolved)));
    return stream as unknown as EventStream<D>;
  }

  /**
   * A page of the feed: the events of several stream types, in the one order in which they were
   * committed (law 15), each exactly once to a reader that goes on from `next`. By default those of
   * the current tenant. Reads what is committed, also inside a transaction of the caller.
   * `INVALID_OPTION`; `TENANT_MISSING` outside a tenant; `STORAGE_UNSUPPORTED` when the provider
   * has no feed; `EVENT_UNKNOWN_TYPE` or `EVENT_UNREADABLE` when the first event cannot be decoded.
   */
  async readFeed<D extends AnyStream, Deletions extends boolean = false>(
    options: FeedReadOptions<D, Deletions>,
  ): Promise<EventFeedPage<D, Deletions>> {
    // the codec has checked that the events are those of the definitions
    return (await readFeed(this.#storage, options)) as EventFeedPage<D, Deletions>;
  }

  /**
   * The feed from a position on, and then what comes, also from other processes: commits of this
   * process at once, those of others by polling (the `poll` of the storage). Ends with
   * its signal, with `break`, and when the storage closes. To continue after a restart, store the
   * `position` of the last event that was handled. Throws as `readFeed` rejects.
   */
  feed<D extends AnyStream, Deletions extends boolean = false>(
    options: FeedWatchOptions<D, Deletions>,
  ): AsyncIterable<FeedItem<D, Deletions>> {
    return watchFeed(this.#storage, options) as AsyncIterable<FeedItem<D, Deletions>>;
  }

  /**
   * The same event store inside the caller's database transaction: what is appended is committed or
   * rolled back with it. `INVALID_OPTION` when the argument is not an open transaction,
   * `STORAGE_UNSUPPORTED` when the provider has no transactions.
   */
  within(transaction: object): EventStore {
    const inside = new EventStore(this.#storage.within(transaction), this.#options);
    // they have one listener
    inside.#notifications = this.#notifications;
    return inside;
  }

  /** Resolves when the snapshots that are being written in the background are written. */
  async idle(): Promise<void> {
    await this.#pending.settled();
  }

  /**
   * Opening a session is `STORAGE_NOT_OPEN` from now on; open sessions and other calls continue.
   */
  refuseSessions(): void {
    this.#sessions.refuse();
  }

  /**
   * For use before the storage closes: aborts and closes the open sessions, and waits until idle.
   */
  async close(): Promise<void> {
    await this.#sessions.end();
    await this.idle();
  }

  #create(definition: ResolvedStream): EventStream<AnyStream> {
    const { type, scope, provider } = definition;
    const { access, database } = locate(this.#storage, { what: `stream '${type}'`, scope, provider });
    const context = new StreamContext({
      access,
      definition,
      settings: this.#settings,
      observer: this.#observer,
      clock: this.#clock,
      // a session that was opened outside a joined transaction commits outside it
      atomic: () => (access.currentTransaction === undefined ? this.#storage.atomic() : atomicOn(access)),
      pending: this.#pending,
      sessions: this.#sessions,
      notifications: this.#notifications,
      committed: this.#options.committed,
    });
    return joinedStore<EventStream<AnyStream>>(new StoredStream<AnyStream>(context, database), access);
  }
}
