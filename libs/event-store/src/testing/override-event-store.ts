import type { TestingModuleBuilder } from '@nestjs/testing';
import type { EventStoreOptions } from '@kvent/event-store';
import { assertEventStoreOptions } from '../core/event-store.js';

/**
 * The token of the module. `Symbol.for`, because doors may be loaded from several copies of the
 * package.
 */
const eventStoreOverrideToken = Symbol.for('kvent.event-store-override');

/**
 * Replaces options of the event store of the module under test. Give `clock` the clock of the
 * provider: `overrideEventStore(overrideStorage(builder, new MemoryProvider({ clock })), { clock
 * })`. An `observer` gets what would be logged.
 */
export function overrideEventStore(
  builder: TestingModuleBuilder,
  options: EventStoreOptions,
): TestingModuleBuilder {
  assertEventStoreOptions('overrideEventStore', options);
  return builder.overrideProvider(eventStoreOverrideToken).useValue(options);
}
