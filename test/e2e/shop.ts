/** The shop in this process, on a free port, with its clients. */
import { afterAll, beforeAll, describe } from '@jest/globals';
import { KeyValueStorage, type Clock } from '@kvent/key-value-storage';
import type { BankTransport } from '../../apps/storefront/src/orders/bank.js';
import type { HttpFramework } from '../../apps/storefront/src/http/adapter.js';
import { openStorefront } from '../../apps/storefront/src/storefront.js';
import { Client } from './client.js';
import { listen } from './listen.js';
import { storages, type TemporaryStorage, type StorageUnderTest } from './storages.js';

export interface RunningShop extends AsyncDisposable {
  readonly port: number;
  readonly client: Client;
  /** The storage of the shop, to inspect it directly. */
  readonly storage: KeyValueStorage;
}

export interface ShopOptions {
  readonly clock?: Clock | undefined;
  /** The connection to the bank. */
  readonly bankTransport?: BankTransport | undefined;
  /** Then every caller needs a key. */
  readonly adminKey?: string | undefined;
  /** @default 'express' */
  readonly http?: HttpFramework | undefined;
}

export async function openShop(
  storage: Pick<TemporaryStorage, 'openProvider'>,
  { clock, bankTransport: transport, adminKey, http }: ShopOptions = {},
): Promise<RunningShop> {
  const app = await openStorefront(
    { kind: 'memory', description: 'under test', create: () => storage.openProvider(clock) },
    { logger: ['fatal'], transport, adminKey, http },
  );
  const port = await listen(app);
  const client = new Client(`http://127.0.0.1:${port}`);
  return { port, client, storage: app.get(KeyValueStorage), [Symbol.asyncDispose]: () => app.close() };
}

/** The running shop of a suite, and new tenants for each test. */
export class ShopUnderTest {
  readonly subject: StorageUnderTest;
  #storage: TemporaryStorage | undefined;
  #running: RunningShop | undefined;
  readonly #options: ShopOptions;
  #tenants = 0;

  constructor(storage: StorageUnderTest, options: ShopOptions) {
    this.subject = storage;
    this.#options = options;
  }

  get client(): Client {
    if (this.#running === undefined) throw new Error('The shop is not open.');
    return this.#running.client;
  }
  get storage(): KeyValueStorage {
    if (this.#running === undefined) throw new Error('The shop is not open.');
    return this.#running.storage;
  }
  get port(): number {
    if (this.#running === undefined) throw new Error('The shop is not open.');
    return this.#running.port;
  }

  async open(): Promise<void> {
    this.#storage ??= await this.subject.create();
    this.#running = await openShop(this.#storage, { http: this.subject.http, ...this.#options });
  }
  async close(): Promise<void> {
    await this.#running?.[Symbol.asyncDispose]();
    this.#running = undefined;
  }
  /** Closes the shop and opens it again on the same storage. */
  async restart(): Promise<void> {
    await this.close();
    await this.open();
  }
  async remove(): Promise<void> {
    await this.close();
    await this.#storage?.[Symbol.asyncDispose]();
  }

  /** A new tenant with an empty shop. */
  async createTenant(): Promise<Client> {
    this.#tenants += 1;
    const id = `tenant-${this.#tenants}`;
    const { status } = await this.client.put(`/tenants/${id}`, { name: id });
    if (status !== 201) throw new Error(`Creating the tenant ${id} returned ${status}.`);
    return this.client.as(id);
  }
}

/** Runs the suite on each of the storages. */
export function onEachStorage(
  subject: string,
  suite: (shop: ShopUnderTest) => void,
  subjects = storages,
  options: ShopOptions = {},
): void {
  describe.each(subjects)(`${subject}, on $name and $http`, (storage) => {
    const shop = new ShopUnderTest(storage, options);
    beforeAll(() => shop.open());
    afterAll(() => shop.remove());
    suite(shop);
  });
}
