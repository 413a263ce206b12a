/** Tests of projections: given events, then states. */
import assert from 'node:assert/strict';
import {
  EventStore,
  streamDefinitionOf,
  type AnyEvent,
  type AnyStream,
  type EventInputOf,
  type EventMetadata,
  type ProjectionDefinition,
} from '@kvent/event-store/core';
import {
  MemoryProvider,
  type Key,
  type KeyValueStorage,
  type StateClass,
  type StateDefinition,
} from '@kvent/key-value-storage/core';
import { invalidOption, type FeedPosition } from '@kvent/key-value-storage/provider';
import { assertOptions, openKeyValueStorage } from '@kvent/key-value-storage/internal';
import { ManualClock } from '@kvent/key-value-storage/testing';
import { FeedSource } from '../core/feed/feed-source.js';
import { FeedReader } from '../core/feed/read-feed.js';
import { Effects } from '../core/projections/effects.js';
import { isDeclaredProjection } from '../core/projections/projection-class.js';
import {
  projectionDefinitionOf,
  type ResolvedProjection,
} from '../core/projections/projection-definition.js';
import { assertThrows, type Thrown } from './assert-throws.js';

export interface AppendedOptions {
  /** @default 'given' */
  readonly tenant?: string | undefined;
  /** @default 2030-01-01T00:00:00Z, or that of the events before */
  readonly recordedAt?: Date | undefined;
  readonly metadata?: EventMetadata | undefined;
}

/** Events of one stream, from `appended`. */
export interface AppendedEvents {
  readonly stream: AnyStream;
  readonly id: string;
  readonly events: readonly AnyEvent[];
  readonly options: AppendedOptions;
}

export interface GivenProjection {
  /** Compares all entries of a state, in the order of their keys; of the tenant 'given'. */
  then<T, K extends Key>(
    // oxlint-disable-next-line typescript/no-explicit-any -- with any input and indexes
    state: StateDefinition<T, K, any, any> | StateClass<T, K, any, any>,
    expected: readonly (readonly [key: NoInfer<K>, value: NoInfer<T>])[],
    options?: { readonly tenant?: string | undefined },
  ): Promise<void>;
  /** Expects an error of a handler: its class, or a part of its message. */
  thenThrows(error: Thrown): Promise<void>;
}

/**
 * A projection; of a class: `(storage) => projectionFrom(new SalesByDay(storage.store(DaySales)))`.
 */
export type ProjectionToTest = ProjectionDefinition | ((storage: KeyValueStorage) => ProjectionDefinition);

const defaultTenant = 'given';
const pageEvents = 1_000;

/**
 * Events that are appended to a stream, for `given` of a projection. They are validated as in any
 * append.
 */
export function appended<D extends AnyStream>(
  stream: D,
  id: string,
  events: readonly EventInputOf<D>[],
  options: AppendedOptions = {},
): AppendedEvents {
  assertOptions('appended', options, ['tenant', 'recordedAt', 'metadata']);
  streamDefinitionOf(stream);
  return { stream, id, events, options };
}

/** Each expectation applies the events anew, to states in memory. */
export function givenProjection(
  projection: ProjectionToTest,
  given: readonly AppendedEvents[],
): GivenProjection {
  if (isDeclaredProjection(projection))
    throw invalidOption(
      `given: ${projection.name} is a class; give the projection of an instance: given((storage) => projectionFrom(new ${projection.name}(…)), events).`,
    );
  return {
    then: async (state, expected, options = {}) => {
      assertOptions('then', options, ['tenant']);
      await using storage = await applied(projection, given);
      const found: [Key, unknown][] = [];
      const store = storage.store(state as unknown as StateDefinition<unknown>);
      const { tenant } = options;
      const own = tenant === undefined ? store : store.forTenant(tenant);
      for await (const { key, value } of own.list()) found.push([key, value]);
      assert.deepStrictEqual(found, expected);
    },
    thenThrows: async (error) => {
      await assertThrows(async () => {
        await using _ = await applied(projection, given);
      }, error);
    },
  };
}

/** A storage with the states after the events. */
async function applied(projection: ProjectionToTest, given: readonly AppendedEvents[]) {
  const clock = new ManualClock();
  const provider = () => new MemoryProvider({ clock });
  const names = given.map(({ stream }) => streamDefinitionOf(stream).provider);
  const fixed = typeof projection === 'function' ? undefined : projectionDefinitionOf(projection);
  const providers = Object.fromEntries(
    [...names, fixed?.provider].flatMap((name) => (name === undefined ? [] : [[name, provider()]])),
  );
  const storage = await openKeyValueStorage({ provider: provider(), providers, tenant: () => defaultTenant });
  try {
    const definition =
      typeof projection === 'function' ? projectionDefinitionOf(projection(storage)) : projection;
    await append(new EventStore(storage), clock, given);
    await apply(storage, definition as ResolvedProjection);
    return storage;
  } catch (error) {
    await storage.close();
    throw error;
  }
}

async function append(events: EventStore, clock: ManualClock, given: readonly AppendedEvents[]) {
  for (const { stream, id, events: own, options } of given) {
    const { tenant, recordedAt, metadata } = options;
    if (recordedAt !== undefined) clock.setNow(recordedAt.getTime());
    const streams = events.stream(stream);
    const target = tenant === undefined ? streams : streams.forTenant(tenant);
    await target.append(id, own as never, {
      expectedVersion: 'any',
      ...(metadata !== undefined && { metadata }),
    });
  }
}

/** The states are written where they are declared. */
const asDeclared = { storeOf: <S>(store: S): S => store, record: () => Promise.resolve() };

/** All events at once: the changes of each tenant are one batch, as those of a page. */
async function apply(storage: KeyValueStorage, projection: ResolvedProjection): Promise<void> {
  const source = new FeedSource('given', storage, { streams: projection.streams, tenants: 'all' });
  const handler = projection.handlerOn(storage);
  const tenants = new Map<string | undefined, Effects>();
  let after: FeedPosition | undefined;
  for (let upToDate = false; !upToDate;) {
    const page = await new FeedReader(source).page(after, pageEvents, undefined);
    for (const event of page.events) {
      if (event.kind !== 'event') continue;
      const effects = tenants.get(event.tenant) ?? new Effects(projection, handler, event.tenant, asDeclared);
      tenants.set(event.tenant, effects);
      await effects.apply(event);
    }
    ({ next: after, upToDate } = page);
  }
  for (const effects of tenants.values()) {
    const batch = storage.atomic();
    await effects.addTo(batch, new AbortController().signal);
    await batch.commit();
  }
}
