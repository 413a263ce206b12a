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
import type { KeyValueStore } from '../../core/store/key-value-store.js';
import { defineState, State } from '../../core/store/state-definition.js';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { InjectStore } from '../inject-store.decorator.js';
import { KeyValueStorageModule } from '../key-value-storage.module.js';

@State('product')
class Product {
  title!: string;
}
const products = KeyValueStorageModule.forFeature([Product]);
@Module({ imports: [products] })
class CatalogModule {}

type Import = DynamicModule | Type<unknown>;
const start = async (...imports: Import[]): Promise<void> => {
  const app = await Test.createTestingModule({ imports }).compile();
  await app.close();
};
const root = (options = {}): DynamicModule =>
  KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider(), ...options });
const refusal = async (...imports: Import[]): Promise<{ code?: string; message: string }> => {
  try {
    await start(...imports);
  } catch (error) {
    return error as { code?: string; message: string };
  }
  throw new Error('It started.');
};

describe('The start-up is refused with INVALID_OPTION', () => {
  it('for a second root, naming both places', async () => {
    const { code, message } = await refusal(
      root(),
      KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider() }),
    );
    expect(code).toBe('INVALID_OPTION');
    expect(new Set(message.match(/checks\.spec\.ts:\d+/g)).size).toBe(2);
  });

  it('without any root, in words that name the feature and not a class of Nest or ours', async () => {
    const { code, message } = await refusal(CatalogModule);
    expect(code).toBe('INVALID_OPTION');
    expect(message).toMatch(
      /forFeature\(\[class Product \('product'\)\]\) \(.*checks\.spec\.ts:\d+\) has no KeyValueStorageModule\.forRoot/,
    );
  });

  it('for two states of one name, naming both classes and both places', async () => {
    @State('product')
    class Article {
      name!: string;
    }
    const { code, message } = await refusal(
      root(),
      CatalogModule,
      KeyValueStorageModule.forFeature([Article]),
    );
    expect(code).toBe('INVALID_OPTION');
    expect(message).toMatch(
      /class Product \('product'\) \(forFeature at .*\) and class Article \('product'\) \(forFeature at/,
    );
  });

  it('for two of one name where the scope that one of them names is the default of the other', async () => {
    const Other = defineState('product', { scope: 'shared' });
    expect((await refusal(root(), CatalogModule, KeyValueStorageModule.forFeature([Other]))).message).toMatch(
      /would share their rows/,
    );
    const Tenants = defineState('product', { scope: 'tenant' });
    expect(
      (await refusal(root({ tenancy: {} }), CatalogModule, KeyValueStorageModule.forFeature([Tenants])))
        .message,
    ).toMatch(/would share their rows/);
  });

  it.each([
    ['container', defineState('product', { container: 'archive' })],
    ['scope', defineState('product', { scope: 'shared' })],
    ['provider', defineState('product', { provider: 'cache' })],
  ])('but not for two of one name that differ in their %s', async (_, other) => {
    const providers = { cache: () => new MemoryProvider() };
    await start(root({ tenancy: {}, providers }), CatalogModule, KeyValueStorageModule.forFeature([other]));
  });

  it('for a class without @State, where forFeature is called', () => {
    class Forgotten {
      name!: string;
    }
    expect(() => KeyValueStorageModule.forFeature([Forgotten])).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTION',
        message: expect.stringMatching(/class Forgotten has no @State/),
      }),
    );
    expect(() => InjectStore(Forgotten)).toThrow(/class Forgotten has no @State/);
  });

  it('for the name of a provider that the root does not have', async () => {
    const Sessions = defineState('session', { provider: 'cahce' });
    const { code, message } = await refusal(
      root({ providers: { cache: () => new MemoryProvider() } }),
      KeyValueStorageModule.forFeature([Sessions]),
    );
    expect(code).toBe('INVALID_OPTION');
    expect(message).toMatch(
      /state 'session' \(forFeature at .*checks\.spec\.ts:\d+\) requires the provider 'cahce'; .*has 'cache'/,
    );
  });

  it.each([
    [{ providre: 1 }, /no option 'providre'/],
    [{ provider: undefined }, /provider must be a storage provider, or a function.*undefined/],
    [{ provider: {} }, /provider must be a storage provider/],
    [{ tenancy: { known: true } }, /tenancy has no option 'known'/],
    [{ tenancy: { header: 'X Tenant' } }, /tenancy\.header/],
    [{ retry: { attempts: 0 } }, /attempts/],
    [{ poll: { delayMs: 0 } }, /poll: delayMs/],
    [{ sweepEveryMs: 0 }, /sweepEveryMs/],
    [{ sweepEveryMs: 2 ** 31 }, /sweepEveryMs/],
  ])('for the options %j', async (options, words) => {
    const { code, message } = await refusal(root(options));
    expect(code).toBe('INVALID_OPTION');
    expect(message).toMatch(words);
  });

  it('for one instance under two names', async () => {
    const provider = new MemoryProvider();
    expect((await refusal(root({ provider, providers: { cache: provider } }))).message).toMatch(
      /one provider instance twice/,
    );
    await start(root({ provider }));
  });

  it('before anything is opened', async () => {
    let opened = 0;
    class Counted extends MemoryProvider {
      override async open(): Promise<void> {
        opened += 1;
        await super.open();
      }
    }
    @State('product')
    class Article {
      name!: string;
    }
    await refusal(
      root({ provider: () => new Counted() }),
      CatalogModule,
      KeyValueStorageModule.forFeature([Article]),
    );
    expect(opened).toBe(0);
    await start(root({ provider: () => new Counted() }), CatalogModule);
    expect(opened).toBe(1);
  });
});

describe('forRootAsync', () => {
  @Injectable({ scope: Scope.REQUEST })
  class OfRequest {}
  @Injectable({ scope: Scope.REQUEST, durable: true })
  class Durable {}
  @Injectable({ scope: Scope.TRANSIENT })
  class Transient {}
  @Module({ providers: [OfRequest, Durable, Transient], exports: [OfRequest, Durable, Transient] })
  class Scoped {}
  const start = async (inject: InjectionToken[]) => {
    let made = 0;
    const useFactory = () => ({ provider: () => ((made += 1), new MemoryProvider()) });
    const module = await Test.createTestingModule({
      imports: [KeyValueStorageModule.forRootAsync({ imports: [Scoped], inject, useFactory })],
    }).compile();
    try {
      await module.init();
    } finally {
      await module.close().catch(() => undefined);
    }
    return made;
  };

  it.each([
    ['the request', REQUEST],
    ['what is request-scoped', OfRequest],
    ['what is durable', Durable],
  ])('is refused when it injects %s: it would open a storage for each request', async (_, token) => {
    await expect(start([token])).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringMatching(/request-scoped/),
    });
  });

  it('is refused when it injects what needs a store: neither could be made before the other', async () => {
    @Injectable()
    class Catalog {
      constructor(@InjectStore(Product) readonly products: KeyValueStore<Product>) {}
    }
    @Module({ imports: [products], providers: [Catalog], exports: [Catalog] })
    class DirectoryModule {}
    const { code, message } = await refusal(
      KeyValueStorageModule.forRootAsync({
        imports: [DirectoryModule],
        inject: [Catalog],
        useFactory: () => ({ provider: new MemoryProvider() }),
      }),
    );
    expect(code).toBe('INVALID_OPTION');
    expect(new Set(message.match(/checks\.spec\.ts:\d+/g)).size).toBe(2);
  });

  it('makes one storage when it injects what is transient', async () => {
    expect(await start([Transient])).toBe(1);
  });
});
