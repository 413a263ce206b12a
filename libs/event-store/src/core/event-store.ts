/**
 * The streams of a storage. Nest injects it as it is; without Nest: `new
 * EventStore(storage).stream(Orders)`; inside a transaction: `eventStore.within(manager)`.
 */
import type { Clock, KeyValueStorage } from '@kvent/key-value-storage/core';
import { invalidOption, resolveOptions, systemClock } from '@kvent/key-value-storage/provider';
import {
  assertOptions,
  assertTtl,
  defaultIdempotencyRetentionMs,
  locate,
} from '@kvent/key-value-storage/internal';
import type { EventStoreSettings, EventStream } from './definition/event-stream.js';
import { SessionRegistry } from './context/session-registry.js';
import { sessionDefaults, assertSessionOptions } from './sessions/session-options.js';
import { StoredStream } from './stored-stream.js';
import { StreamContext, type StreamSettings } from './context/stream-context.js';
import { streamOf, type AnyStream, type ResolvedStream } from './definition/stream-definition.js';
import { quiet, type CommittedEvents, type StreamObserver } from './definition/stream-observer.js';

export interface EventStoreOptions extends EventStoreSettings {
  /**
   * What counts the deadlines of sessions, and waits for locks; expiry is the storage provider's.
   * For tests. @default the system's
   */
  readonly clock?: Clock | undefined;
  /** Hears what happens: logs, traces, metrics. */
  readonly observer?: StreamObserver | undefined;
  /**
   * Is handed the events of each commit of this store, after it, once, in the order of their
   * versions: for the tenant of the commit, and outside the async context of whoever made it, where
   * the storage is that of `KeyValueStorageModule`. What it throws is told as 'listener failed'.
   * Not crash-safe: a process that ends in between, or whose answer from the storage was lost,
   * hands nothing on. Not for commits inside a transaction of the caller's.
   */
  readonly committed?: CommittedEvents | undefined;
}

const names = ['metadata', 'session', 'idempotencyRetentionMs', 'clock', 'observer', 'committed'];

/** `INVALID_OPTION` names the owner, and what is wrong with the options. */
export function assertEventStoreOptions(owner: string, options: EventStoreOptions): void {
  assertOptions(owner, options, names);
  const { session = {}, idempotencyRetentionMs = defaultIdempotencyRetentionMs, ...given } = options;
  for (const name of ['metadata', 'committed'] as const)
    if (given[name] !== undefined && typeof given[name] !== 'function')
      throw invalidOption(`${owner}: ${name} is a function; given was ${typeof given[name]}.`);
  assertSessionOptions(`${owner}: session`, session, ['sessionTimeoutMs', 'openTimeoutMs', 'renewal']);
  assertTtl(`${owner}: idempotencyRetentionMs`, idempotencyRetentionMs);
}

export class EventStore {
  readonly #storage: KeyValueStorage;
  readonly #settings: StreamSettings;
  readonly #observer: StreamObserver;
  readonly #clock: Clock;
  readonly #streams = new Map<ResolvedStream, EventStream<AnyStream>>();
  readonly #background = new Set<Promise<void>>();
  readonly #sessions = new SessionRegistry();
  readonly #options: EventStoreOptions;

  /** `INVALID_OPTION` names what is wrong with the options. */
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
    this.#observer = quiet(observer);
    this.#clock = clock;
  }

  /**
   * All streams of one type. `INVALID_OPTION` for what is no definition, or names a provider that
   * is not there.
   */
  stream<D extends AnyStream>(definition: D): EventStream<D> {
    const resolved = streamOf(definition);
    let stream = this.#streams.get(resolved);
    if (stream === undefined) this.#streams.set(resolved, (stream = this.#create(resolved)));
    return stream as unknown as EventStream<D>;
  }

  /**
   * The same event store, with the same settings, inside the caller's own database transaction:
   * what is appended is committed or rolled back with it. `INVALID_OPTION` for what is no open
   * transaction, `STORAGE_UNSUPPORTED` where the provider has none.
   */
  within(transaction: object): EventStore {
    return new EventStore(this.#storage.within(transaction), this.#options);
  }

  /** Settles once the snapshots that are being written off the request path are written. */
  async idle(): Promise<void> {
    while (this.#background.size > 0) await Promise.all(this.#background);
  }

  /**
   * From now on no session is opened (`STORAGE_NOT_OPEN`). Those that are open go on, and so does
   * everything else.
   */
  refuseSessions(): void {
    this.#sessions.refuse();
  }

  /**
   * Before the storage closes: ends the sessions that are open (their signals abort, their streams
   * are let go), and waits until it is idle.
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
      atomic: () => this.#storage.atomic(),
      background: this.#background,
      sessions: this.#sessions,
      committed: this.#options.committed,
    });
    return new StoredStream<AnyStream>(context, database);
  }
}
