/**
 * Clients that write without pauses and record the answers, for tests that stop the shop or its
 * storage.
 */
import { expect } from '@jest/globals';
import type { Answer, Client } from './client.js';

const writers = 8;

/** Each client adds products of its own; all of them change one product and one stock. */
export class Load {
  /** The other answers: `503 STORAGE_UNAVAILABLE` … */
  readonly refusals = new Set<string>();
  readonly #added: string[] = [];
  #skus = 0;
  #raised = 0;
  #received = 0;
  #written = 0;
  #stopped = false;
  #awaited:
    | { readonly count: number; readonly resolve: () => void; readonly reject: (error: Error) => void }
    | undefined;

  async prepare(client: Client): Promise<void> {
    await client.put('/tenants/load', { name: 'Load' });
    await client.as('load').post('/products', { sku: 'all', title: 'All', priceCents: 0 });
  }

  /** Writes until the shop has ended, or until `stop`. */
  async writeTo(client: Client): Promise<void> {
    await Promise.all(Array.from({ length: writers }, () => this.#write(client.as('load'))));
    this.#awaited?.reject(
      new Error(`The clients ended after ${this.#written} writes; expected ${this.#awaited.count}.`),
    );
  }

  async #write(shop: Client): Promise<void> {
    try {
      while (!this.#stopped) {
        const sku = `sku-${(this.#skus += 1)}`;
        if (this.#isWritten(await shop.post('/products', { sku, title: sku, priceCents: 1 })))
          this.#added.push(sku);
        if (this.#isWritten(await shop.post('/products/all/price-changes', { by: 1 }))) this.#raised += 1;
        if (this.#isWritten(await shop.post('/stock/all/receipts', { quantity: 1 }))) this.#received += 1;
      }
    } catch (error) {
      // The error of fetch if the shop has ended. Not instanceof: its class is of another realm.
      if ((error as Error).name !== 'TypeError') throw error;
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  /** The number of writes with a 2xx answer. */
  get written(): number {
    return this.#written;
  }

  /** Resolves after so many writes. Rejects if the clients end before. */
  async reached(count: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#awaited = { count, resolve, reject };
    });
    this.#awaited = undefined;
  }

  async assertAllWritten(client: Client): Promise<void> {
    const shop = client.as('load');
    const stored = new Set<string>();
    for (let path: string | undefined = '/products?limit=1000'; path !== undefined;) {
      const { items, next } = (await shop.get(path)).body as { items: { sku: string }[]; next?: string };
      for (const { sku } of items) stored.add(sku);
      path = next === undefined ? undefined : `/products?limit=1000&cursor=${next}`;
    }
    expect(this.#added.filter((sku) => !stored.has(sku))).toEqual([]);
    // One write of each client may be stored without an answer, so there may be more, never less.
    expect((await shop.get('/products/all')).body).toMatchObject({ priceCents: expect.any(Number) });
    expect(
      ((await shop.get('/products/all')).body as { priceCents: number }).priceCents,
    ).toBeGreaterThanOrEqual(this.#raised);
    expect(((await shop.get('/stock/all')).body as { onHand: number }).onHand).toBeGreaterThanOrEqual(
      this.#received,
    );
    expect(this.#added.length * this.#raised * this.#received).toBeGreaterThan(0);
  }

  #isWritten({ status, body }: Answer): boolean {
    if (status >= 300) {
      this.refusals.add(`${status} ${String((body as { code?: string } | undefined)?.code)}`);
      return false;
    }
    this.#written += 1;
    if (this.#awaited !== undefined && this.#written >= this.#awaited.count) this.#awaited.resolve();
    return true;
  }
}
