/**
 * Modules that are loaded after the start, and what Nest 11.0 and 11.1 do then: every module that a
 * lazily loaded one reaches makes its providers again.
 */
import 'reflect-metadata';
import { Module, type DynamicModule, type INestApplicationContext, type Type } from '@nestjs/common';
import { LazyModuleLoader, ModulesContainer } from '@nestjs/core';
import { CqrsModule, EventBus } from '@nestjs/cqrs';
import { Test } from '@nestjs/testing';
import { afterEach, describe, expect, it } from '@jest/globals';
import {
  defineState,
  getStoreToken,
  KeyValueStorage,
  KeyValueStorageModule,
  MemoryProvider,
  TenantContext,
  type KeyValueStore,
} from '@kvent/key-value-storage';
import { defineStream, event, EventStore, type EventStream } from '../core.js';
import { EventBusBridgeModule } from './event-bus-bridge.module.js';
import { EventStoreModule } from './event-store.module.js';
import { getStreamToken } from './inject-stream.decorator.js';

const Notes = defineState<{ text: string }>('note');
const Doors = defineStream('door', {
  events: { opened: event() },
  initial: () => 0,
  evolve: (times) => times + 1,
});
class DoorOpened {
  constructor(readonly from: string | undefined) {}
}

const closing: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const app of closing.splice(0)) await app.close();
});
async function start(...imports: (DynamicModule | Type<unknown>)[]): Promise<INestApplicationContext> {
  const app = await Test.createTestingModule({ imports }).compile();
  closing.push(app);
  return await app.init();
}

const lazily = (...imports: DynamicModule[]): DynamicModule => {
  @Module({})
  class Lazy {}
  return { module: Lazy, imports };
};

interface LoaderOfNest11 {
  readonly dependenciesScanner: {
    scanModulesForDependencies(modules: ReadonlyMap<string, unknown>): Promise<void>;
  };
  readonly instanceLoader: {
    createInstancesOfDependencies(modules: ReadonlyMap<string, unknown>): Promise<void>;
  };
}

/**
 * As the loader of Nest 11.0 does it with each module that is reached: its providers take the place
 * of those that are there.
 */
async function makeAgain(
  app: INestApplicationContext,
  reached: (metatype: Type<unknown>) => boolean,
): Promise<void> {
  const { dependenciesScanner, instanceLoader } = app.get<unknown, LoaderOfNest11>(LazyModuleLoader);
  const modules = new Map(
    [...app.get(ModulesContainer)].filter(([, { metatype }]) => reached(metatype as Type<unknown>)),
  );
  await dependenciesScanner.scanModulesForDependencies(modules);
  await instanceLoader.createInstancesOfDependencies(modules);
}

const isOurs = ({ name }: Type<unknown>): boolean => /^(KeyValue|Event(Store|Stream|BusBridge))/.test(name);

describe('A module whose providers Nest makes again', () => {
  it('keeps the storage, its rows, the tenant of the moment, the event store and who listens', async () => {
    let [made, closed] = [0, 0];
    class Counted extends MemoryProvider {
      override async close(): Promise<void> {
        closed += 1;
        await super.close();
      }
    }
    const app = await start(
      KeyValueStorageModule.forRootAsync({
        useFactory: () => ({
          provider: () => ((made += 1), new Counted()),
          tenancy: { isKnown: () => true },
        }),
      }),
      EventStoreModule.forRootAsync({ useFactory: () => ({ metadata: () => ({ correlationId: 'root' }) }) }),
      KeyValueStorageModule.forFeature([Notes]),
      EventStoreModule.forFeature([Doors]),
      CqrsModule.forRoot(),
      EventBusBridgeModule.forFeature(Doors, {
        opened: ({ metadata }) => new DoorOpened(metadata.correlationId),
      }),
    );
    const published: unknown[] = [];
    app.get(EventBus, { strict: false }).subscribe((each) => published.push(each));
    const partsOf = () =>
      [KeyValueStorage, TenantContext, EventStore].map((token) => app.get<unknown>(token, { strict: false }));
    const notes = () => app.get<KeyValueStore<{ text: string }>>(getStoreToken(Notes), { strict: false });
    const doors = () => app.get<EventStream<typeof Doors>>(getStreamToken(Doors), { strict: false });
    const before = partsOf();
    await app.get(TenantContext, { strict: false }).run('acme', () => notes().set('n', { text: 'kept' }));

    await makeAgain(app, isOurs);

    expect(partsOf().map((part, index) => part === before[index])).toEqual([true, true, true]);
    expect(made).toBe(1);
    const context = app.get(TenantContext, { strict: false });
    expect((await context.run('acme', () => notes().getOrThrow('n'))).value).toEqual({ text: 'kept' });
    await context.run('acme', () =>
      doors().append('front', [{ type: 'opened' }], { expectedVersion: 'absent' }),
    );
    await app.close();
    expect(published).toEqual([new DoorOpened('root')]);
    expect(closed).toBe(1);
  });
});

describe('In a lazily loaded module, as at the start, INVALID_OPTION', () => {
  const root = () => KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider() });
  const doors = () =>
    defineStream('door', { events: { opened: event() }, initial: () => 0, evolve: (times) => times + 1 });
  const features = (notes: typeof Notes, stream: typeof Doors) => [
    KeyValueStorageModule.forFeature([notes]),
    EventStoreModule.forFeature([stream]),
  ];
  const load = async (app: INestApplicationContext, ...imports: DynamicModule[]): Promise<void> =>
    void (await app.get(LazyModuleLoader).load(() => lazily(...imports)));
  const placesIn = (message: string) => new Set(message.match(/lazy-modules\.spec\.ts:\d+/g)).size;
  const refusal = async (
    loading: Promise<void>,
  ): Promise<{ readonly code: string; readonly message: string }> => {
    try {
      await loading;
    } catch (error) {
      return error as { readonly code: string; readonly message: string };
    }
    throw new Error('It was loaded.');
  };

  it('is the answer to a second root of the storage, naming both places', async () => {
    const app = await start(root());
    const { code, message } = await refusal(
      load(app, KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider() })),
    );
    expect([code, placesIn(message)]).toEqual(['INVALID_OPTION', 2]);
  });

  it('is the answer to a second root of the event store, naming both places', async () => {
    const app = await start(root(), EventStoreModule.forRoot({}));
    const { code, message } = await refusal(load(app, EventStoreModule.forRoot({})));
    expect([code, placesIn(message)]).toEqual(['INVALID_OPTION', 2]);
  });

  it('is the answer to states and streams that would share the rows of others, and the next module is loaded all the same', async () => {
    const app = await start(root(), ...features(Notes, Doors));
    const others = [
      KeyValueStorageModule.forFeature([defineState('note')]),
      EventStoreModule.forFeature([doors()]),
    ];
    for (const other of others) {
      const { code, message } = await refusal(load(app, other));
      expect([code, placesIn(message)]).toEqual(['INVALID_OPTION', 2]);
      expect(message).toMatch(/would share their rows/);
    }
    await load(app, ...features(Notes, Doors));
  });

  it('is the answer to the name of a provider that the root does not have', async () => {
    const app = await start(root());
    const { code, message } = await refusal(
      load(app, KeyValueStorageModule.forFeature([defineState('session', { provider: 'cahce' })])),
    );
    expect(code).toBe('INVALID_OPTION');
    expect(message).toMatch(/requires the provider 'cahce'/);
  });

  it('is the answer to a bridge to the event bus, which Nest would never start', async () => {
    const app = await start(root(), CqrsModule.forRoot(), EventStoreModule.forFeature([Doors]));
    const bridge = EventBusBridgeModule.forFeature(Doors, { opened: () => new DoorOpened(undefined) });
    const { code, message } = await refusal(load(app, bridge));
    expect(code).toBe('INVALID_OPTION');
    expect(message).toMatch(/lazy-modules\.spec\.ts:\d+.* loaded after the start/);
  });
});
