import 'reflect-metadata';
import { Inject, Injectable, Logger, Module, type DynamicModule, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Test } from '@nestjs/testing';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { KeyValueStorage, KeyValueStore } from '../core/store/key-value-store.js';
import { defineState, State } from '../core/store/state-definition.js';
import type { StorageProvider } from '../core/port/storage-provider.js';
import { MemoryProvider } from '../providers/memory/memory-provider.js';
import { getStoreToken, InjectStore } from './inject-store.decorator.js';
import { KeyValueStorageModule } from './key-value-storage.module.js';

@State('product')
class Product {
  title!: string;
  price!: number;
}

@Injectable()
class Catalog {
  constructor(@InjectStore(Product) readonly products: KeyValueStore<Product>) {}

  raise(sku: string, by: number) {
    return this.products.update(sku, (product) => ({ ...product, price: product.price + by }));
  }
}

@Module({ imports: [KeyValueStorageModule.forFeature([Product])], providers: [Catalog], exports: [Catalog] })
class CatalogModule {}

type Import = DynamicModule | Type<unknown>;
@Module({})
class EmptyModule {}

const closing: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const app of closing.splice(0)) await app.close();
  jest.restoreAllMocks();
});
async function start(...imports: Import[]) {
  const app = await Test.createTestingModule({ imports }).compile();
  closing.push(app);
  return await app.init();
}
const root = (options = {}): DynamicModule =>
  KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider(), ...options });
const startError = async (...imports: Import[]): Promise<{ code?: string; message: string }> => {
  try {
    await start(...imports);
  } catch (error) {
    return error as { code?: string; message: string };
  }
  throw new Error('It started.');
};

/** A provider in memory that logs when it opens and closes. */
class LoggingProvider extends MemoryProvider {
  constructor(
    readonly log: string[],
    readonly label = 'main',
    readonly fails = false,
  ) {
    super();
  }
  override async open(): Promise<void> {
    this.log.push(`${this.label} opens`);
    if (this.fails) throw new Error(`${this.label} has no disk`);
    await super.open();
  }
  override async close(): Promise<void> {
    this.log.push(`${this.label} closes`);
    await super.close();
  }
}

describe('A module', () => {
  it('injects the stores that it declares, on the storage of the root', async () => {
    const app = await start(root(), CatalogModule);
    const catalog = app.get(Catalog, { strict: false });
    await catalog.products.add('shoe', { title: 'Shoe', price: 1 });
    await catalog.raise('shoe', 2);
    expect((await catalog.products.getOrThrow('shoe')).value).toEqual({ title: 'Shoe', price: 3 });
    expect(catalog.products).toBe(app.get(KeyValueStorage, { strict: false }).store(Product));
    expect(catalog.products).toBe(app.get(getStoreToken(Product), { strict: false }));
  });

  it('injects into properties; all modules that declare a store get the same one', async () => {
    @Injectable()
    class Reports {
      @InjectStore(Product) readonly products!: KeyValueStore<Product>;
    }
    @Module({ imports: [KeyValueStorageModule.forFeature([Product])], providers: [Reports] })
    class ReportsModule {}
    const app = await start(root(), CatalogModule, ReportsModule);
    expect(app.get(Reports, { strict: false }).products).toBe(app.get(Catalog, { strict: false }).products);
  });

  it('takes options from an injected factory, and further providers by name', async () => {
    const Session = defineState<{ user: string }>('session', { provider: 'cache' });
    @Module({
      providers: [{ provide: 'settings', useValue: { cache: new MemoryProvider() } }],
      exports: ['settings'],
    })
    class SettingsModule {}
    const app = await start(
      KeyValueStorageModule.forRootAsync({
        imports: [SettingsModule],
        inject: ['settings'],
        useFactory: async ({ cache }: { cache: StorageProvider }) => ({
          provider: new MemoryProvider(),
          providers: { cache },
        }),
      }),
      CatalogModule,
      KeyValueStorageModule.forFeature([Session]),
    );
    await app
      .get<KeyValueStore<{ user: string }>>(getStoreToken(Session), { strict: false })
      .add('s', { user: 'ada' });
    const { cache } = app.get<{ cache: StorageProvider }>('settings', { strict: false });
    expect(await cache.administration.spaces('shared')).toHaveLength(1);
  });

  it('accepts a stub instead of a store', async () => {
    const stub: Pick<KeyValueStore<Product>, 'update'> = { update: () => Promise.reject(new Error('stub')) };
    const app = await Test.createTestingModule({
      providers: [Catalog, { provide: getStoreToken(Product), useValue: stub }],
    }).compile();
    await expect(app.get(Catalog).raise('shoe', 1)).rejects.toThrow('stub');
  });
});

describe('Two applications in one process', () => {
  it('share nothing when the provider is a function, which is called once for each', async () => {
    let calls = 0;
    const shared = KeyValueStorageModule.forRoot({ provider: async () => (calls++, new MemoryProvider()) });
    const [one, two] = [await start(shared, CatalogModule), await start(shared, CatalogModule)];
    await one.get(Catalog, { strict: false }).products.add('shoe', { title: 'Shoe', price: 1 });
    expect(await two.get(Catalog, { strict: false }).products.count()).toBe(0);
    expect(calls).toBe(2);
  });

  it('cannot open one instance twice; the error has the call sites of both', async () => {
    const provider = new MemoryProvider();
    const first = await start(KeyValueStorageModule.forRoot({ provider }));
    const { code, message } = await startError(KeyValueStorageModule.forRoot({ provider }));
    expect(code).toBe('INVALID_STATE');
    expect(message).toMatch(/'memory'.*already open.*module\.spec\.ts:\d+.*give a function/);
    expect(new Set(message.match(/module\.spec\.ts:\d+/g)).size).toBe(2);
    await first.close();
    await start(KeyValueStorageModule.forRoot({ provider }));
  });
});

describe('The storage', () => {
  let swept = (): void => undefined;
  class SweptProvider extends MemoryProvider {
    override sweep(limit: number): Promise<number> {
      swept();
      return super.sweep(limit);
    }
  }
  /** The next sweep of a `SweptProvider`. */
  async function sweptAgain(): Promise<void> {
    const keepAlive = setInterval(() => undefined, 1_000); // the timers of the sweepers do not
    await new Promise<void>((resolve) => (swept = resolve));
    clearInterval(keepAlive);
  }

  it('is open before the creation of a class that injects it', async () => {
    const log: string[] = [];
    @Injectable()
    class Seeder {
      constructor(@Inject(KeyValueStorage) storage: KeyValueStorage) {
        log.push('seeder');
        void storage;
      }
    }
    await start(
      { module: EmptyModule, providers: [Seeder] },
      root({ provider: () => new LoggingProvider(log) }),
    );
    expect(log).toEqual(['main opens', 'seeder']);
  });

  it('closes the first provider when the second one fails to open, and throws its error', async () => {
    const log: string[] = [];
    const providers = { cache: () => new LoggingProvider(log, 'cache', true) };
    const { message } = await startError(
      root({ provider: () => new LoggingProvider(log), providers }),
      CatalogModule,
    );
    expect(message).toBe('cache has no disk');
    expect(log).toEqual(['main opens', 'cache opens', 'main closes']);
  });

  it('closes after the shutdown hooks of its users, on app.close() without enableShutdownHooks', async () => {
    const log: string[] = [];
    @Injectable()
    class LastWriter {
      constructor(@InjectStore(Product) readonly products: KeyValueStore<Product>) {}
      async onApplicationShutdown(): Promise<void> {
        await this.products.set('last', { title: 'Last', price: 0 });
        log.push('last write');
      }
    }
    const app = await NestFactory.createApplicationContext(
      {
        module: EmptyModule,
        imports: [
          root({ provider: () => new LoggingProvider(log) }),
          KeyValueStorageModule.forFeature([Product]),
        ],
        providers: [LastWriter],
      },
      { logger: false },
    );
    await app.close();
    expect(log).toEqual(['main opens', 'last write', 'main closes']);
    await expect(app.get(KeyValueStorage).store(Product).get('last')).rejects.toMatchObject({
      code: 'STORAGE_NOT_OPEN',
    });
  });

  it('is swept every sweepEveryMs, until the application closes', async () => {
    await start(root({ provider: () => new SweptProvider(), sweepEveryMs: 1 }));
    await sweptAgain();
  });

  it('is swept on each provider, also while another one fails or hangs', async () => {
    jest.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
    let release = (): void => undefined;
    class HangingProvider extends MemoryProvider {
      override sweep(): Promise<number> {
        return new Promise((resolve) => (release = () => resolve(0)));
      }
    }
    class FailingProvider extends MemoryProvider {
      override sweep(): Promise<number> {
        return Promise.reject(new Error('no disk'));
      }
    }
    const providers = { hanging: () => new HangingProvider(), cache: () => new SweptProvider() };
    await start(root({ provider: () => new FailingProvider(), providers, sweepEveryMs: 1 }));
    await sweptAgain();
    await sweptAgain();
    release();
  });
});
