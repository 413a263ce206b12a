import 'reflect-metadata';
import {
  Injectable,
  Module,
  Scope,
  type DynamicModule,
  type InjectionToken,
  type Type,
} from '@nestjs/common';
import { REQUEST } from '@nestjs/core';
import { Test } from '@nestjs/testing';
import { describe, expect, it } from '@jest/globals';
import { KeyValueStorageModule, MemoryProvider, type KeyValueStorageOptions } from '@kvent/key-value-storage';
import { overrideStorage } from '@kvent/key-value-storage/testing';
import { defineStream, event, EventStore } from '../core.js';
import { EventStoreModule } from './event-store.module.js';
import { InjectStream } from './inject-stream.decorator.js';

const doors = (options: { readonly scope?: 'tenant' | 'shared'; readonly provider?: string } = {}) =>
  defineStream('door', {
    events: { opened: event() },
    initial: () => 0,
    evolve: (times) => times + 1,
    ...options,
  });
const Doors = doors();
@Module({ imports: [EventStoreModule.forFeature([Doors])] })
class DoorModule {}

type Import = DynamicModule | Type<unknown>;
const start = async (...imports: Import[]): Promise<void> => {
  const app = await Test.createTestingModule({ imports }).compile();
  await app.close();
};
const root = (options: Partial<KeyValueStorageOptions> = {}): DynamicModule =>
  KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider(), ...options });
const refusal = async (work: () => Promise<unknown>): Promise<{ code?: string; message: string }> => {
  try {
    await work();
  } catch (error) {
    return error as { code?: string; message: string };
  }
  throw new Error('It started.');
};
const refused = async (...imports: Import[]) => await refusal(async () => await start(...imports));
const places = (message: string) => message.match(/checks\.spec\.ts:\d+/g);

describe('The start-up of streams is refused with INVALID_OPTION', () => {
  it('for two definitions of one type, naming both places', async () => {
    const { code, message } = await refused(root(), DoorModule, EventStoreModule.forFeature([doors()]));
    expect(code).toBe('INVALID_OPTION');
    expect(message).toMatch(/stream type 'door' .* and stream type 'door' .* would share their rows/);
    expect(new Set(places(message)).size).toBe(2);
  });

  it('for two of one type where the scope that one of them names is the default of the other', async () => {
    const shared = EventStoreModule.forFeature([doors({ scope: 'shared' })]);
    expect((await refused(root(), DoorModule, shared)).message).toMatch(/would share their rows/);
    const tenants = EventStoreModule.forFeature([doors({ scope: 'tenant' })]);
    expect((await refused(root({ tenancy: {} }), DoorModule, tenants)).message).toMatch(
      /would share their rows/,
    );
    await start(root({ tenancy: {} }), DoorModule, shared);
  });

  it('but not for two of one type on two engines, unless a test has made one of them', async () => {
    const cached = EventStoreModule.forFeature([doors({ provider: 'cache' })]);
    const imports = [root({ providers: { cache: () => new MemoryProvider() } }), DoorModule, cached];
    await start(...imports);
    const { message } = await refusal(() =>
      overrideStorage(Test.createTestingModule({ imports }), new MemoryProvider()).compile(),
    );
    expect(message).toMatch(/would share their rows/);
  });

  it('for the name of a provider that the root does not have', async () => {
    const feature = EventStoreModule.forFeature([doors({ provider: 'cahce' })]);
    const { code, message } = await refused(
      root({ providers: { cache: () => new MemoryProvider() } }),
      feature,
    );
    expect(code).toBe('INVALID_OPTION');
    expect(message).toMatch(
      /stream type 'door' \(forFeature at .*checks\.spec\.ts:\d+\) requires the provider 'cahce'; .*has 'cache'/,
    );
    expect((await refused(root(), feature)).message).toMatch(/has none/);
  });

  it('for a second root, naming both places', async () => {
    const { code, message } = await refused(
      root(),
      EventStoreModule.forRoot(),
      EventStoreModule.forRootAsync({ useFactory: () => ({}) }),
    );
    expect(code).toBe('INVALID_OPTION');
    expect(message).toMatch(/EventStoreModule\.forRoot is imported 2 times/);
    expect(new Set(places(message)).size).toBe(2);
  });

  it('without a storage, naming the feature that wants one, or else the root', async () => {
    const { code, message } = await refused(DoorModule);
    expect(code).toBe('INVALID_OPTION');
    expect(message).toMatch(
      /EventStoreModule\.forFeature\(\[stream type 'door'\]\) \(.*checks\.spec\.ts:\d+\) has no KeyValueStorageModule\.forRoot/,
    );
    expect((await refused(EventStoreModule.forRoot({}))).message).toMatch(
      /EventStoreModule\.forRoot \(.*checks\.spec\.ts:\d+\) has no KeyValueStorageModule\.forRoot/,
    );
  });

  it('for options that are not allowed, where forRoot is called, or when they are made', async () => {
    expect(() => EventStoreModule.forRoot({ metdata: () => ({}) } as never)).toThrow(
      /EventStoreModule\.forRoot \(.*checks\.spec\.ts:\d+\) has no option 'metdata'/,
    );
    expect(() => EventStoreModule.forRoot({ session: { openTimeoutMs: -1 } })).toThrow(
      /EventStoreModule.*openTimeoutMs/,
    );
    expect(() => EventStoreModule.forRoot({ metadata: {} as never })).toThrow(/metadata must be a function/);
    const { message } = await refused(
      root(),
      EventStoreModule.forRootAsync({ useFactory: () => ({ idempotencyRetentionMs: 0 }) }),
    );
    expect(message).toMatch(
      /EventStoreModule\.forRootAsync \(.*checks\.spec\.ts:\d+\).*idempotencyRetentionMs/,
    );
  });

  it('for what is no definition, where it is named', () => {
    expect(() => EventStoreModule.forFeature([{ kind: 'stream', type: 'door' }])).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTION',
        message: expect.stringMatching(/must come from defineStream/),
      }),
    );
    expect(() => InjectStream('door' as never)).toThrow(/must come from defineStream/);
  });

  it('before anything is opened', async () => {
    let opened = 0;
    class Counted extends MemoryProvider {
      override async open(): Promise<void> {
        opened += 1;
        await super.open();
      }
    }
    const counted = root({ provider: () => new Counted() });
    await refused(counted, DoorModule, EventStoreModule.forFeature([doors()]));
    await refused(counted, EventStoreModule.forRoot({}), EventStoreModule.forRoot({}));
    expect(opened).toBe(0);
    await start(counted, DoorModule);
    expect(opened).toBe(1);
  });

  it('with the error of the storage itself where that cannot be opened', async () => {
    class Broken extends MemoryProvider {
      override open(): Promise<void> {
        return Promise.reject(new Error('there is no disk'));
      }
    }
    expect((await refused(root({ provider: () => new Broken() }), DoorModule)).message).toBe(
      'there is no disk',
    );
  });
});

it('Two modules that name one definition are given the same streams', async () => {
  const app = await Test.createTestingModule({
    imports: [root(), DoorModule, EventStoreModule.forFeature([Doors])],
  }).compile();
  expect(app.get(EventStore, { strict: false }).stream(Doors)).toBeDefined();
  await app.close();
});

describe('EventStoreModule.forRootAsync', () => {
  @Injectable({ scope: Scope.REQUEST })
  class OfRequest {}
  @Injectable({ scope: Scope.REQUEST, durable: true })
  class Durable {}
  @Injectable({ scope: Scope.TRANSIENT })
  class Transient {}
  @Module({ providers: [OfRequest, Durable, Transient], exports: [OfRequest, Durable, Transient] })
  class Scoped {}
  const startWith = async (inject: InjectionToken[]): Promise<number> => {
    let made = 0;
    const useFactory = () => ((made += 1), {});
    const imports = [
      root(),
      DoorModule,
      EventStoreModule.forRootAsync({ imports: [Scoped], inject, useFactory }),
    ];
    const module = await Test.createTestingModule({ imports }).compile();
    try {
      await module.init();
    } finally {
      await module.close();
    }
    return made;
  };

  it.each([
    ['the request', REQUEST],
    ['what is request-scoped', OfRequest],
    ['what is durable', Durable],
  ])('is refused when it injects %s: it would make an event store for each request', async (_, token) => {
    const { code, message } = await refusal(() => startWith([token]));
    expect(code).toBe('INVALID_OPTION');
    expect(message).toMatch(/checks\.spec\.ts:\d+\).*request-scoped/);
  });

  it('makes its options once when it injects what is transient', async () => {
    expect(await startWith([Transient])).toBe(1);
  });
});
