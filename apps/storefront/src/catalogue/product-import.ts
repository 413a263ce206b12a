import { Injectable, type BeforeApplicationShutdown } from '@nestjs/common';
import {
  InjectStore,
  isStorageError,
  KeyValueStore,
  TenantContext,
  type LoadItem,
} from '@kvent/key-value-storage';
import { ShopError } from '../problems/shop-error.js';
import { OnePerTenant } from '../tenants/one-per-tenant.js';
import { Product } from './product.js';

export interface Imported {
  readonly loaded: number;
  readonly failed: number;
  /** The first 100 lines that were refused; lines count from 1. */
  readonly failures: readonly { readonly line: number; readonly code: string; readonly detail: string }[];
}

@Injectable()
export class ProductImport implements BeforeApplicationShutdown {
  readonly #imports = new OnePerTenant(importInProgress);
  readonly #closing = new AbortController();

  constructor(
    @InjectStore(Product) private readonly products: KeyValueStore<Product>,
    private readonly tenant: TenantContext,
  ) {}

  /**
   * Creates or overwrites the product of each line, and leaves out the lines that are none. It is
   * not one commit: after an error, a repeat stores the same products again. A tenant has one at a
   * time (`IMPORT_IN_PROGRESS`), with two commits in flight: others need the storage too.
   */
  async run(lines: AsyncIterable<string>): Promise<Imported> {
    const end = this.#imports.begin(this.tenant.currentOrThrow());
    try {
      const { failures, ...counts } = await this.products.loadFrom(itemsIn(lines), {
        onError: 'continue',
        concurrency: 2,
        signal: this.#closing.signal,
      });
      const refused = failures.map(({ index, error: { code, message } }) => ({
        line: index + 1,
        code,
        detail: message,
      }));
      return { ...counts, failures: refused };
    } catch (error) {
      throw isStorageError(error, 'ABORTED') ? closing(error.done ?? 0) : error;
    } finally {
      end();
    }
  }

  /** The shop does not wait for the rest of an upload. */
  beforeApplicationShutdown(): void {
    this.#closing.abort();
  }
}

/** The store checks the values. A line without a sku is refused, whatever its key. */
async function* itemsIn(lines: AsyncIterable<string>): AsyncGenerator<LoadItem<string, Product>> {
  for await (const line of lines) {
    const value = parsed(line) as Product | null;
    const sku: unknown = value?.sku;
    yield { key: typeof sku === 'string' ? sku : '(none)', value: value as Product };
  }
}

/** A line that is not JSON is no product either: the schema refuses the text. */
function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return line;
  }
}

const importInProgress = (tenant: string): ShopError =>
  new ShopError(
    'IMPORT_IN_PROGRESS',
    503,
    'Import in progress',
    `Products of ${tenant} are being imported. Wait for the end of that import.`,
  );

const closing = (done: number): ShopError =>
  new ShopError('SHOP_CLOSING', 503, 'Shop closing', `${done} products are stored. Repeat the import.`, {
    done,
  });
