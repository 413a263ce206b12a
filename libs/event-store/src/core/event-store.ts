/** The streams of a storage. Nest injects it as it is; without Nest, or inside a transaction: `new EventStore(storage.within(manager)).stream(Orders)`. */
import {
  assertOptions,
  assertTtl,
  invalidOption,
  markRetentionMs,
  placeIn,
  resolveOptions,
  systemClock,
  type Clock,
  type KeyValueStorage,
} from '@kvent/key-value-storage/core';
import type { EventStoreSettings, EventStream } from './event-stream.js';
import { sessionDefaults, assertSessionOptions } from './session-options.js';
import { StoredStream } from './stored-stream.js';
import { StreamContext, type StreamSettings } from './stream-context.js';
import { streamOf, type AnyStream, type ResolvedStream } from './stream-definition.js';
import { quiet, type StreamObserver } from './stream-observer.js';

export interface EventStoreOptions extends EventStoreSettings {
  /** What counts the deadlines of sessions, and waits for locks; expiry is the storage provider's. For tests. @default the system's */
  readonly clock?: Clock | undefined;
  /** Hears what happens: logs, traces, metrics. */
  readonly observer?: StreamObserver | undefined;
}

export class EventStore {
  readonly #storage: KeyValueStorage;
  readonly #settings: StreamSettings;
  readonly #observer: StreamObserver;
  readonly #clock: Clock;
  readonly #streams = new Map<ResolvedStream, EventStream<AnyStream>>();
  readonly #background = new Set<Promise<void>>();

  /** `INVALID_OPTION` names what is wrong with the options. */
  constructor(storage: KeyValueStorage, options: EventStoreOptions = {}) {
    assertOptions('EventStore', options, ['metadata', 'session', 'idempotencyRetentionMs', 'clock', 'observer']);
    const { metadata, session = {}, idempotencyRetentionMs = markRetentionMs, clock = systemClock, observer } = options;
    if (metadata !== undefined && typeof metadata !== 'function')
      throw invalidOption(`EventStore: metadata is a function; given was ${typeof metadata}.`);
    assertSessionOptions('EventStore: session', session, ['sessionTimeoutMs', 'openTimeoutMs', 'renewal']);
    assertTtl('EventStore: idempotencyRetentionMs', idempotencyRetentionMs);
    this.#storage = storage;
    this.#settings = { metadata, session: resolveOptions('EventStore: session', session, sessionDefaults), idempotencyRetentionMs };
    this.#observer = quiet(observer);
    this.#clock = clock;
  }

  /** All streams of one type. `INVALID_OPTION` for what is no definition, or names a provider that is not there. */
  stream<D extends AnyStream>(definition: D): EventStream<D> {
    const resolved = streamOf(definition);
    let stream = this.#streams.get(resolved);
    if (stream === undefined) this.#streams.set(resolved, (stream = this.#create(resolved)));
    return stream as unknown as EventStream<D>;
  }

  /** Settles once the snapshots that are being written off the request path are written. */
  async idle(): Promise<void> {
    while (this.#background.size > 0) await Promise.all(this.#background);
  }

  #create(definition: ResolvedStream): EventStream<AnyStream> {
    const { type, scope, provider } = definition;
    const { engine, database } = placeIn(this.#storage, { what: `stream '${type}'`, scope, provider });
    const context = new StreamContext({
      engine,
      definition,
      settings: this.#settings,
      observer: this.#observer,
      clock: this.#clock,
      atomic: () => this.#storage.atomic(),
      background: this.#background,
    });
    return new StoredStream<AnyStream>(context, database);
  }
}
