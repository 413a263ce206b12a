import { Injectable } from '@nestjs/common';
import {
  CounterStore,
  InjectStore,
  IndexedStore,
  ShardedCounter,
  TenantContext,
  type Entry,
  type IdempotentCall,
  type Page,
  type PageRequest,
  type Precondition,
} from '@kvent/key-value-storage';
import { dayOf } from '../day.js';
import { ShopError } from '../problems/shop-error.js';
import { OnePerTenant } from '../tenants/one-per-tenant.js';
import { Product, type productIndexes } from './product.js';
import { DayViews, Views } from './views.js';

@Injectable()
export class CatalogueService {
  readonly #exports = new OnePerTenant(exportInProgress);

  constructor(
    @InjectStore(Product) private readonly products: IndexedStore<Product, typeof productIndexes>,
    @InjectStore(Views) private readonly views: CounterStore,
    @InjectStore(DayViews) private readonly dayViews: ShardedCounter,
    private readonly tenant: TenantContext,
  ) {}

  add(product: Product): Promise<Entry<Product>> {
    return this.products.add(product.sku, product);
  }

  /** All or none: `KEY_EXISTS` with the first sku that is taken. */
  addAll(products: readonly Product[]): Promise<readonly Entry<Product>[]> {
    return this.products.addMany(products.map((product) => ({ key: product.sku, value: product })));
  }

  get(sku: string): Promise<Entry<Product>> {
    return this.products.getOrThrow(sku);
  }

  /** How often the product was shown, this time included. */
  async countView(sku: string): Promise<number> {
    const [views] = await Promise.all([
      this.views.increment(sku),
      this.dayViews.increment(dayOf(Date.now())),
    ]);
    return views;
  }

  page(request: PageRequest): Promise<Page<Entry<Product>>> {
    return this.products.page(request);
  }

  pageByPrice(request: Pick<PageRequest, 'limit' | 'cursor' | 'reverse'>): Promise<Page<Entry<Product>>> {
    return this.products.index('byPrice').page(request);
  }

  /**
   * All products of one moment, in the order of their sku. It holds a snapshot until it ends, so a
   * tenant has one at a time: `EXPORT_IN_PROGRESS`.
   */
  async *export(): AsyncGenerator<Product, void> {
    const end = this.#exports.begin(this.tenant.currentOrThrow());
    try {
      for await (const { value } of this.products.export()) yield value;
    } finally {
      end();
    }
  }

  replace(product: Product, ifMatch: Precondition): Promise<Entry<Product>> {
    return this.products.set(product.sku, product, { ifMatch });
  }

  async remove(sku: string, ifMatch: Precondition): Promise<void> {
    await this.products.delete(sku, { ifMatch });
    await this.views.reset(sku);
  }

  /** In any version; returns how many there were. */
  async removeAll(skus: readonly string[]): Promise<number> {
    const removed = await this.products.deleteKeys(skus);
    await Promise.all(skus.map((sku) => this.views.reset(sku)));
    return removed;
  }

  /**
   * One attempt: `STORAGE_CONFLICT` after a concurrent write. The caller decides whether to retry.
   * With a key, a repeat changes nothing and returns the product as it was after the first call.
   */
  async changePrice(
    sku: string,
    byCents: number,
    idempotencyKey: IdempotentCall | undefined,
  ): Promise<Entry<Product>> {
    const product = await this.products.getOrThrow(sku);
    const changed = product.with({ priceCents: product.value.priceCents + byCents });
    return await this.products.save(changed, { idempotencyKey });
  }

  /** `KEY_NOT_FOUND`. Only products of the catalogue are stocked and put into carts. */
  async assertSold(sku: string): Promise<void> {
    if (!(await this.products.has(sku))) throw notSold(sku);
  }

  /** The products now and after each change, `undefined` for one that is not sold. */
  watch(skus: readonly string[]): AsyncIterable<readonly (Entry<Product> | undefined)[]> {
    return this.products.watchMany(skus);
  }

  /** Items with the current prices. */
  async priced<Item extends { readonly sku: string }>(
    items: readonly Item[],
  ): Promise<(Item & { readonly priceCents: number })[]> {
    const products = await this.products.getMany(items.map(({ sku }) => sku));
    return items.map((item, index) => {
      const product = products[index];
      if (product === undefined) throw notSold(item.sku);
      return { ...item, priceCents: product.value.priceCents };
    });
  }
}

const exportInProgress = (tenant: string): ShopError =>
  new ShopError(
    'EXPORT_IN_PROGRESS',
    503,
    'Export in progress',
    `The products of ${tenant} are being exported. Read that export to its end, or close its connection.`,
  );

const notSold = (sku: string): ShopError =>
  new ShopError('KEY_NOT_FOUND', 404, 'Key not found', `There is no product ${sku}.`, { key: sku });
