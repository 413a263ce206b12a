/**
 * One measurement in a fresh process: node child.js memory <provider> <directory> <rows>, or
 * node child.js start <directory> <tenants>.
 */
import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  defineState,
  getStoreToken,
  JsonFileProvider,
  KeyValueStorageModule,
  MemoryProvider,
  openStorage,
  type KeyValueStore,
} from '@kvent/key-value-storage';
import { product, productBytes, type Product } from '../product.js';
import type { MemoryReport, StartReport } from './in-a-process.js';

const Products = defineState<Product>('product');

const [task = '', ...args] = process.argv.slice(2);
const report = task === 'memory' ? await memoryOf(args) : await startOf(args);
process.stdout.write(JSON.stringify(report));

async function memoryOf([provider, directory = '', rows = '']: readonly string[]): Promise<MemoryReport> {
  const before = used();
  await using storage = await openStorage(
    provider === 'memory' ? new MemoryProvider() : new JsonFileProvider({ directory }),
  );
  let bytes = 0;
  function* items() {
    for (let index = 0; index < Number(rows); index += 1) {
      const key = `product-${index}`;
      bytes += key.length + productBytes;
      yield { key, value: product };
    }
  }
  await storage.store(Products).loadFrom(items());
  return { dataMB: Number((bytes / 1e6).toPrecision(3)), memoryMB: (used() - before) / 1e6 };
}

/** Memory after garbage collection, of JavaScript and of buffers. */
function used(): number {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function startOf([directory = '', tenants = '']: readonly string[]): Promise<StartReport> {
  @Module({
    imports: [
      KeyValueStorageModule.forRoot({
        provider: () => new JsonFileProvider({ directory }),
        tenancy: { isKnown: () => true },
      }),
      KeyValueStorageModule.forFeature([Products]),
    ],
  })
  class Application {}
  const begun = performance.now();
  const application = await NestFactory.createApplicationContext(Application, { logger: ['warn', 'error'] });
  const startedMs = performance.now() - begun;
  const store = application.get<KeyValueStore<Product>>(getStoreToken(Products), { strict: false });
  for (let index = 0; index < Number(tenants); index += 1)
    if ((await store.forTenant(`t-${index}`).get('mug')) === undefined)
      throw new Error(`The tenant t-${index} has no row.`);
  const readMs = performance.now() - begun;
  await application.close();
  return { startedMs, readMs };
}
