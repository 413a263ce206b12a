/**
 * Callers who write without a pause, and remember what they were told: for tests that take the
 * ground away beneath them.
 */
import { expect } from '@jest/globals';
import type { Answer, Client } from './client.js';

const writers = 8;

/** Products of their own, and one product and one stock that all of them change. */
export class Load {
  /** What was answered otherwise: `503 STORAGE_UNAVAILABLE` … */
  readonly refusals = new Set<string>();
  readonly #added: string[] = [];
  #skus = 0;
  #raised = 0;
  #received = 0;
  #written = 0;
  #stopped = false;
  #asked:
    | { readonly count: number; readonly resolve: () => void; readonly reject: (error: Error) => void }
    | undefined;

  async begin(client: Client): Promise<void> {
    await client.put('/tenants/load', { name: 'Load' });
    await client.as('load').post('/products', { sku: 'all', title: 'All', priceCents: 0 });
  }

  /** Writes until the shop is gone, or until it is told to stop. */
  async work(client: Client): Promise<void> {
    await Promise.all(Array.from({ length: writers }, () => this.#write(client.as('load'))));
    this.#asked?.reject(
      new Error(
        `The writers have ended after ${this.#written} writes; ${this.#asked.count} were waited for.`,
      ),
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
      // fetch says so when nobody answers; not instanceof: it is not of Jest's realm
      if ((error as Error).name !== 'TypeError') throw error;
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  /** How many writes were answered with 2xx. */
  get written(): number {
    return this.#written;
  }

  /** Rejects when the writers end before that. */
  async reached(count: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#asked = { count, resolve, reject };
    });
    this.#asked = undefined;
  }

  async assertThere(client: Client): Promise<void> {
    const shop = client.as('load');
    const there = new Set<string>();
    for (let path: string | undefined = '/products?limit=1000'; path !== undefined;) {
      const { items, next } = (await shop.get(path)).body as { items: { sku: string }[]; next?: string };
      for (const { sku } of items) there.add(sku);
      path = next === undefined ? undefined : `/products?limit=1000&cursor=${next}`;
    }
    expect(this.#added.filter((sku) => !there.has(sku))).toEqual([]);
    // What was on its way may have landed too, one of each writer: more is fine, less is not.
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
    if (this.#asked !== undefined && this.#written >= this.#asked.count) this.#asked.resolve();
    return true;
  }
}
