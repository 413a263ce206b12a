/**
 * Typical code of a user, which must compile. `types.spec.ts` and `npm run types` check it; it is
 * never run.
 */
import {
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  Injectable,
  Module,
  NotFoundException,
  Param,
  Patch,
  Post,
  Put,
  Query,
  UseInterceptors,
  type MiddlewareConsumer,
  type NestModule,
} from '@nestjs/common';
import { Test } from '@nestjs/testing';
import {
  CounterStore,
  defineBigCounter,
  defineCounter,
  defineShardedCounter,
  defineState,
  Entry,
  EtagInterceptor,
  getStoreToken,
  IfMatch,
  InjectStore,
  isStorageError,
  JsonFileProvider,
  KeyValueStorage,
  KeyValueStorageModule,
  ShardedCounter,
  KeyValueStore,
  MemoryProvider,
  openStorage,
  ProblemDetailsFilter,
  RetryOnConflict,
  retryOnConflict,
  RetryOnConflictInterceptor,
  State,
  StateMigration,
  StorageExceptionFilter,
  TenantContext,
  TenantMiddleware,
  type Key,
  type LoadFailure,
  type MigrationFailure,
  type MigrationResult,
  type StateOf,
} from '@kvent/key-value-storage';
import { expectReadable, ManualClock, overrideStorage, writeFixture } from '@kvent/key-value-storage/testing';
import { z } from 'zod';

// States

/** A class without a schema. */
@State('shelf')
export class Shelf {
  name!: string;
  skus!: string[];
}

const ProductSchema = z.object({
  sku: z.string().trim().min(1),
  title: z.string(),
  price: z.number().int().nonnegative(),
  tags: z.array(z.string()).default([]),
  since: z.coerce.date(),
});
interface OldProduct {
  readonly priceInCents: number;
}
/** A class with a schema, a former shape, a method and a date. */
@State('product', {
  schema: ProductSchema,
  schemaVersion: 2,
  upcast: { 1: (old: OldProduct) => ({ ...old, price: old.priceInCents }) },
})
export class Product {
  sku!: string;
  title!: string;
  price!: number;
  tags!: string[];
  since!: Date;
  cheaperBy(amount: number): number {
    return this.price - amount;
  }
}

/** A schema without a class. */
export const Tags = defineState('tag', {
  schema: z.object({ label: z.string(), uses: z.number().default(0) }),
  scope: 'shared',
});
export type Tag = StateOf<typeof Tags>;

/** Neither a class nor a schema. */
export const Sessions = defineState<{ user: string }>('session', {
  ttlMs: 60_000,
  expiry: 'sliding',
  provider: 'cache',
});

// A service

@Injectable()
export class Catalog {
  constructor(
    @InjectStore(Product) private readonly products: KeyValueStore<Product>,
    @InjectStore(Tags) private readonly tags: KeyValueStore<Tag>,
    private readonly storage: KeyValueStorage,
  ) {}

  async find(sku: string): Promise<Entry<Product>> {
    const entry = await this.products.get(sku);
    if (entry === undefined) throw new NotFoundException(`There is no product ${sku}.`);
    return entry;
  }
  raise(sku: string, by: number): Promise<Entry<Product>> {
    return this.products.update(sku, (product) => ({ ...product, price: product.price + by }));
  }
  async rename(sku: string, title: string): Promise<Entry<Product>> {
    const entry = await this.products.getOrThrow(sku);
    return await this.products.save(entry.with({ title }));
  }
  discounted(entry: Entry<Product>): number {
    return entry.value.cheaperBy(5);
  }
  create(product: z.input<typeof ProductSchema>): Promise<Entry<Product>> {
    return this.products.add(product.sku, { ...product, tags: product.tags ?? [], since: new Date() });
  }
  page(cursor: string | undefined) {
    return this.products.page({ prefix: 'shoe-', limit: 20, cursor });
  }
  async tag(label: string): Promise<void> {
    await this.tags.update(label, (tag) => ({ ...tag, uses: tag.uses + 1 }), {
      initial: () => ({ label, uses: 0 }),
    });
  }
  /** Two rows in one commit, retried after a conflict. */
  swapTitles(a: string, b: string) {
    return retryOnConflict(async () => {
      const [first, second] = await this.products.getMany([a, b]);
      if (!first || !second) throw new NotFoundException();
      return await this.storage
        .atomic()
        .save(this.products, first.with({ title: second.value.title }))
        .save(this.products, second.with({ title: first.value.title }))
        .set(this.tags, 'swapped', { label: 'swapped', uses: 1 })
        .delete(this.products, 'old')
        .commit();
    });
  }
  async claim(sku: string): Promise<boolean> {
    try {
      await this.products.add(sku, { sku, title: '', price: 0, tags: [], since: new Date() });
      return true;
    } catch (error) {
      if (isStorageError(error, 'KEY_EXISTS')) return isKnownKey(error.key);
      if (isStorageError(error, 'INVALID_VALUE')) return error.issues.length > 0;
      throw error;
    }
  }
  @RetryOnConflict({ attempts: 5 })
  async restock(sku: string): Promise<string> {
    return (await this.raise(sku, 1)).etag;
  }
}
const isKnownKey = (_key: Key): boolean => false;

// HTTP

@Controller('products')
@UseInterceptors(EtagInterceptor)
export class ProductController {
  @InjectStore(Shelf) readonly shelves!: KeyValueStore<Shelf>;
  constructor(
    @InjectStore(Product) private readonly products: KeyValueStore<Product>,
    private readonly catalog: Catalog,
    private readonly tenant: TenantContext,
  ) {}
  @Get() async list(@Query('cursor') cursor?: string) {
    const page = await this.catalog.page(cursor);
    return { items: page.items.map((entry) => entry.value), next: page.next, tenant: this.tenant.current() };
  }
  @Get(':sku') get(@Param('sku') sku: string): Promise<Entry<Product>> {
    return this.catalog.find(sku);
  }
  @Post() create(
    @Body({ schema: ProductSchema }) body: z.infer<typeof ProductSchema>,
  ): Promise<Entry<Product>> {
    return this.products.add(body.sku, body);
  }
  @Put(':sku') put(
    @Param('sku') sku: string,
    @IfMatch() ifMatch: string,
    @Body({ schema: ProductSchema }) body: z.infer<typeof ProductSchema>,
  ): Promise<Entry<Product>> {
    return this.products.set(sku, body, { ifMatch });
  }
  @Patch(':sku/price')
  @UseInterceptors(RetryOnConflictInterceptor.with({ attempts: 5, attemptsHeader: 'X-Attempts' }))
  async price(@Param('sku') sku: string, @Body() body: { by: number }): Promise<Entry<Product>> {
    const entry = await this.products.getOrThrow(sku);
    return await this.products.save(entry.with({ price: entry.value.price + body.by }));
  }
  @Delete(':sku') @HttpCode(204) async remove(
    @Param('sku') sku: string,
    @IfMatch() ifMatch: string,
  ): Promise<void> {
    await this.products.delete(sku, { ifMatch });
  }
}

// Modules

@Module({
  imports: [KeyValueStorageModule.forFeature([Product, Tags, Shelf])],
  providers: [Catalog],
  controllers: [ProductController],
})
export class CatalogModule {}

@Module({
  imports: [
    KeyValueStorageModule.forRoot({
      provider: new JsonFileProvider({ directory: './data' }),
      providers: { cache: new MemoryProvider() },
      tenancy: {
        isKnown: (tenant) => tenant === 'acme',
        mayEnter: async (tenant, { user }: { user: string }) => user === tenant,
      },
      retry: { attempts: 5 },
      sweepEveryMs: 'never',
    }),
    CatalogModule,
  ],
})
export class AppModule implements NestModule {
  configure(consumer: MiddlewareConsumer): void {
    consumer.apply(TenantMiddleware).exclude('health').forRoutes('{*path}');
  }
}

class Config {
  readonly clock = new ManualClock();
}
@Module({
  imports: [
    KeyValueStorageModule.forRootAsync({
      inject: [Config],
      useFactory: (config: Config) => ({ provider: new MemoryProvider({ clock: config.clock }) }),
    }),
  ],
})
export class AsyncAppModule {}

export const filters = [
  new ProblemDetailsFilter(),
  new StorageExceptionFilter({ extend: (problem) => ({ ...problem, at: 'here' }) }),
];

// Jobs, scripts and tests

export async function nightly(
  tenants: readonly string[],
  context: TenantContext,
  storage: KeyValueStorage,
): Promise<void> {
  for (const tenant of tenants) await context.run(tenant, () => storage.store(Product).count());
  for (const tenant of tenants) await storage.store(Product).forTenant(tenant).count({ prefix: 'shoe-' });
}

export async function rewrite(): Promise<void> {
  await using storage = await openStorage(new MemoryProvider(), { tenant: 'acme' });
  const products = storage.store(Product);
  for await (const entry of products.list()) await products.save(entry);
}

export async function wholeApp(): Promise<Product> {
  const clock = new ManualClock();
  const app = await overrideStorage(
    Test.createTestingModule({ imports: [AppModule] }),
    new MemoryProvider({ clock }),
  ).compile();
  const products = app.get<KeyValueStore<Product>>(getStoreToken(Product), { strict: false });
  await products.setMany([
    { key: 'p-1', value: { sku: 'p-1', title: 'Shoe', price: 1, tags: [], since: new Date() } },
  ]);
  await clock.advance(60_000);
  return (await products.getOrThrow('p-1')).value;
}

export function stub() {
  const products: Pick<KeyValueStore<Product>, 'get'> = { get: () => Promise.resolve(undefined) };
  return Test.createTestingModule({
    providers: [Catalog, { provide: getStoreToken(Product), useValue: products }],
  });
}

// Generic code for any state

export async function copy<T>(from: KeyValueStore<T>, to: KeyValueStore<T>): Promise<void> {
  for await (const entry of from.list()) await to.set(entry.key, entry.value);
}
export class OptimisticUpdates<T> {
  constructor(private readonly store: KeyValueStore<T>) {}
  change(key: Key, change: (value: T) => T): Promise<Entry<T>> {
    return this.store.update(key, change);
  }
}
export async function fallback<T>(store: KeyValueStore<T>, key: Key, otherwise: T): Promise<T> {
  return (await store.get(key))?.value ?? otherwise;
}

// Inferred types

type Same<A, B> = (<X>() => X extends A ? 1 : 2) extends <X>() => X extends B ? 1 : 2 ? true : false;
export const inferred: [
  Same<StateOf<typeof Tags>, { label: string; uses: number }>,
  Same<StateOf<typeof Sessions>['user'], string>,
  Same<Awaited<ReturnType<Catalog['restock']>>, string>,
] = [true, true, true];
export async function tuples(
  products: KeyValueStore<Product>,
): Promise<[Entry<Product> | undefined, Entry<Product> | undefined]> {
  const [first, second] = await products.getMany(['a', 'b']);
  return [first, second];
}

// counters
const Views = defineCounter('views', { ttlMs: 60_000, floor: 0 });
const Bytes = defineBigCounter('bytes', { ceiling: 2n ** 62n });
const Seats = defineCounter('seats', { key: z.tuple([z.string(), z.int()]) });
const Likes = defineShardedCounter('likes', { shards: 4, ttlMs: 60_000 });
const Clicks = defineShardedCounter('clicks', { key: z.tuple([z.string(), z.int()]) });

@Injectable()
export class Counting {
  constructor(
    @InjectStore(Views) readonly views: CounterStore,
    @InjectStore(Bytes) readonly bytes: CounterStore<bigint>,
    @InjectStore(Seats) readonly seats: CounterStore<number, readonly [string, number]>,
    @InjectStore(Likes) readonly likes: ShardedCounter,
    @InjectStore(Clicks) readonly clicks: ShardedCounter<readonly [string, number]>,
    @InjectStore(Product) private readonly products: KeyValueStore<Product>,
  ) {}
  async count(storage: KeyValueStorage): Promise<readonly [number, bigint]> {
    await storage.atomic().increment(this.views, 'home').raiseTo(this.bytes, 'home', 5n).commit();
    await storage.store(Seats).decrement(['show', 1], 2);
    for await (const { key, value } of this.seats.list()) if (value === 0) await this.seats.reset(key);
    const [views] = await this.views.getMany(['home']);
    void this.products;
    return [views, await storage.store(Bytes).increment('home')];
  }
}
export const CountingModule = KeyValueStorageModule.forFeature([Views, Bytes, Seats, Product]);
export { Bytes, Seats, Views };

// migrations
const Addresses = defineState<{ readonly street: string }, string>('address');
const Places = defineState<{ readonly name: string }, string>('place');
export async function migrations(storage: KeyValueStorage): Promise<void> {
  const addresses = storage.store(Addresses);
  const migration = new StateMigration(addresses, { rowsPerSecond: 5, onProgress: ({ read }) => void read });
  const { failures, resumed }: MigrationResult<string> = await migration.run();
  await new StateMigration(addresses, {
    to: storage.store(Places),
    change: ({ street }, key) => (key === '' ? undefined : { name: street }),
  }).run();
  await new StateMigration(addresses, { to: addresses.forTenant('acme') }).run();
  const failed: MigrationFailure<string>[] = [];
  const onFailure = (failure: MigrationFailure<string>): void => void failed.push(failure);
  await new StateMigration(addresses, { onError: 'continue', onFailure }).run();
  const refused: LoadFailure[] = [];
  await addresses.loadFrom([{ key: 'a', value: { street: 'A' } }], {
    onError: 'continue',
    onFailure: async (failure) => void refused.push(await Promise.resolve(failure)),
  });
  const [fixture] = await expectReadable(Addresses, 'fixtures');
  const street: string | undefined = fixture?.value.street;
  await writeFixture(Addresses, 'fixtures', { home: { street: 'Main Street' } });
  void [failures.map(({ key }) => key.length), resumed, street];
}
