import 'reflect-metadata';
import { Injectable, Module, type DynamicModule } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { afterEach, describe, expect, it } from '@jest/globals';
import { KeyValueStorage, KeyValueStore } from '../core/key-value-store.js';
import { State } from '../core/state-definition.js';
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

const closing: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const app of closing.splice(0)) await app.close();
});
async function start(...imports: (DynamicModule | typeof CatalogModule)[]) {
  const app = await Test.createTestingModule({ imports }).compile();
  closing.push(app);
  return await app.init();
}

describe('A module', () => {
  it('injects the stores it declares, on the storage of the root', async () => {
    const app = await start(KeyValueStorageModule.forRoot({ provider: new MemoryProvider() }), CatalogModule);
    const catalog = app.get(Catalog, { strict: false });
    await catalog.products.add('shoe', { title: 'Shoe', price: 1 });
    await catalog.raise('shoe', 2);
    expect((await catalog.products.getOrThrow('shoe')).value).toEqual({ title: 'Shoe', price: 3 });
    expect(catalog.products).toBe(app.get(KeyValueStorage, { strict: false }).store(Product));
    expect(catalog.products).toBe(app.get(getStoreToken(Product), { strict: false }));
  });
});
