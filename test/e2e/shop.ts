/** The shop in this process, on a free port, and whoever asks it. */
import { afterAll, beforeAll, describe } from '@jest/globals';
import type { AddressInfo } from 'node:net';
import { KeyValueStorage, type Clock } from '@kvent/key-value-storage';
import type { Server } from 'node:http';
import type { BankTransport } from '../../apps/storefront/src/orders/bank.js';
import { openStorefront } from '../../apps/storefront/src/storefront.js';
import { Client } from './client.js';
import { storages, type Place, type StorageUnderTest } from './storages.js';

export interface RunningShop extends AsyncDisposable {
  readonly port: number;
  readonly client: Client;
  /** What the shop stands on, for looking behind it. */
  readonly kept: KeyValueStorage;
}

export interface ShopOptions {
  readonly clock?: Clock | undefined;
  /** How the shop reaches the bank. */
  readonly line?: BankTransport | undefined;
}

export async function openShop(
  place: Pick<Place, 'create'>,
  { clock, line }: ShopOptions = {},
): Promise<RunningShop> {
  const app = await openStorefront(
    { description: 'under test', create: () => place.create(clock) },
    ['fatal'],
    line,
  );
  const server: Server = await app.listen(0);
  // Node closes a connection that was idle for five seconds; a request that is just on its way then
  // would fail
  server.keepAliveTimeout = 0;
  const { port } = server.address() as AddressInfo;
  const client = new Client(`http://localhost:${port}`);
  return { port, client, kept: app.get(KeyValueStorage), [Symbol.asyncDispose]: () => app.close() };
}

/** What a suite works with: the shop of the moment, and tenants that no other test has touched. */
export class ShopUnderTest {
  readonly storage: StorageUnderTest;
  #place: Place | undefined;
  #running: RunningShop | undefined;
  readonly #options: ShopOptions;
  #tenants = 0;

  constructor(storage: StorageUnderTest, options: ShopOptions) {
    this.storage = storage;
    this.#options = options;
  }

  get client(): Client {
    if (this.#running === undefined) throw new Error('The shop is not open.');
    return this.#running.client;
  }
  get kept(): KeyValueStorage {
    if (this.#running === undefined) throw new Error('The shop is not open.');
    return this.#running.kept;
  }
  get port(): number {
    if (this.#running === undefined) throw new Error('The shop is not open.');
    return this.#running.port;
  }

  async open(): Promise<void> {
    this.#place ??= await this.storage.place();
    this.#running = await openShop(this.#place, this.#options);
  }
  async close(): Promise<void> {
    await this.#running?.[Symbol.asyncDispose]();
    this.#running = undefined;
  }
  /** Closes the shop and opens it again at the same place. */
  async restart(): Promise<void> {
    await this.close();
    await this.open();
  }
  async remove(): Promise<void> {
    await this.close();
    await this.#place?.[Symbol.asyncDispose]();
  }

  /** A new tenant with an empty shop. */
  async tenant(): Promise<Client> {
    this.#tenants += 1;
    const id = `tenant-${this.#tenants}`;
    const { status } = await this.client.put(`/tenants/${id}`, { name: id });
    if (status !== 201) throw new Error(`The tenant ${id} was not made: ${status}.`);
    return this.client.as(id);
  }
}

/** The suite, once for each storage, or for each of those given. */
export function onEachStorage(
  subject: string,
  suite: (shop: ShopUnderTest) => void,
  given = storages,
  options: ShopOptions = {},
): void {
  describe.each(given)(`${subject}, on $name`, (storage) => {
    const shop = new ShopUnderTest(storage, options);
    beforeAll(() => shop.open());
    afterAll(() => shop.remove());
    suite(shop);
  });
}
