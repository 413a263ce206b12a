import type { TestingModuleBuilder } from '@nestjs/testing';
import type { EventStoreOptions } from '@kvent/event-store';
import { assertEventStoreOptions } from '../core/event-store.js';

/**
 * The token of the module: `Symbol.for`, so that it does not matter which copy of the package is
 * behind which door.
 */
const eventStoreOverrideToken = Symbol.for('kvent.event-store-override');

/**
 * Other options for the event store of the module under test, over those of its root: above all the
 * `clock` that the sessions count by, which is to be the one of the provider:
 * `overrideEventStore(overrideStorage(builder, new MemoryProvider({ clock })), { clock })`. An
 * `observer` hears what would be logged.
 */
export function overrideEventStore(
  builder: TestingModuleBuilder,
  options: EventStoreOptions,
): TestingModuleBuilder {
  assertEventStoreOptions('overrideEventStore', options);
  return builder.overrideProvider(eventStoreOverrideToken).useValue(options);
}
