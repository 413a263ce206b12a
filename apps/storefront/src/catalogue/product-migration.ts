import { Injectable, Logger, type BeforeApplicationShutdown } from '@nestjs/common';
import {
  InjectStore,
  isStorageError,
  KeyValueStorage,
  KeyValueStore,
  StateMigration,
  type MigrationCounts,
} from '@kvent/key-value-storage';
import { Product } from './product.js';

/** So slow that requests do not notice it. */
const rowsPerSecond = 500;

/**
 * Rewrites the products of all tenants that earlier releases have stored, in the background.
 * Requests need no such run, because they read products of any version.
 */
@Injectable()
export class ProductMigration implements BeforeApplicationShutdown {
  readonly #logger = new Logger(ProductMigration.name);
  readonly #closing = new AbortController();
  readonly #tenants = new Map<string, MigrationCounts>();
  #status: 'none' | 'running' | 'done' | 'failed' = 'none';
  #run: Promise<void> | undefined;

  constructor(
    @InjectStore(Product) private readonly products: KeyValueStore<Product>,
    private readonly storage: KeyValueStorage,
  ) {}

  /** Of the last run of this process. */
  get progress() {
    return {
      status: this.#status,
      tenants: [...this.#tenants].map(([tenant, counts]) => ({ tenant, ...counts })),
    };
  }

  /** Begins a run, unless one is running. One that was interrupted goes on where it was. */
  start(): void {
    if (this.#status === 'running') return;
    this.#status = 'running';
    this.#tenants.clear();
    this.#run = this.#migrateAll().then(
      () => void (this.#status = 'done'),
      (error: unknown) => {
        this.#status = 'failed';
        if (!isStorageError(error, 'ABORTED')) this.#logger.error('The migration has failed.', error);
      },
    );
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.#closing.abort();
    await this.#run;
  }

  async #migrateAll(): Promise<void> {
    for (const tenant of await this.storage.tenants()) {
      const migration = new StateMigration(this.products.forTenant(tenant), {
        rowsPerSecond,
        onError: 'continue',
        onProgress: (counts) => void this.#tenants.set(tenant, counts),
      });
      const { failures } = await migration.run({ signal: this.#closing.signal });
      for (const { key, error } of failures)
        this.#logger.warn(`The product ${key} of ${tenant} is left as it is: ${String(error)}`);
    }
  }
}
