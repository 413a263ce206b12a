/** Whatever ends the running shop, every write that it has answered with 2xx is there when it opens again. */
import { describe, expect, it } from '@jest/globals';
import type { Client } from './client.js';
import { ShopProcess } from './shop-process.js';
import { lasting, type StorageUnderTest } from './storages.js';

const writers = 8;

export function crashes(): void {
  for (const storage of lasting) describe(`What was answered, on ${storage.name},`, () => survives(storage));
}

function survives(storage: StorageUnderTest): void {
  it('is there after a SIGTERM under load, which ends the shop all the same', async () => {
    await using place = await storage.place();
    const load = new Load();
    await using first = await ShopProcess.open({ storage: place.setting });
    await load.begin(first.client);
    const working = load.work(first.client);
    await load.reached(200);
    expect(await first.kill('SIGTERM')).toMatchObject({ code: 0, stderr: '' });
    await working;
    await using second = await ShopProcess.open({ storage: place.setting });
    await load.assertThere(second.client);
  });

  it('is there after three kill -9 in a row, each under load', async () => {
    await using place = await storage.place();
    const load = new Load();
    for (let round = 1; round <= 3; round += 1) {
      await using shop = await ShopProcess.open({ storage: place.setting });
      if (round === 1) await load.begin(shop.client);
      else await load.assertThere(shop.client);
      const working = load.work(shop.client);
      await load.reached(round * 150);
      expect(await shop.kill('SIGKILL')).toMatchObject({ signal: 'SIGKILL' });
      await working;
    }
    await using last = await ShopProcess.open({ storage: place.setting });
    await load.assertThere(last.client);
    expect(await last.client.as('load').post('/products', { sku: 'after', title: 'After', priceCents: 1 })).toMatchObject({ status: 201 });
  });
}

/** Products of their own, and one product and one stock that all of them change. */
class Load {
  readonly #added: string[] = [];
  #skus = 0;
  #raised = 0;
  #received = 0;
  #answered = 0;
  #asked: { readonly count: number; readonly resolve: () => void } | undefined;

  async begin(client: Client): Promise<void> {
    await client.put('/tenants/load', { name: 'Load' });
    await client.as('load').post('/products', { sku: 'all', title: 'All', priceCents: 0 });
  }

  /** Writes until the shop is gone. */
  async work(client: Client): Promise<void> {
    await Promise.all(Array.from({ length: writers }, () => this.#write(client.as('load'))));
  }

  async #write(shop: Client): Promise<void> {
    try {
      while (true) {
        const sku = `sku-${(this.#skus += 1)}`;
        if ((await shop.post('/products', { sku, title: sku, priceCents: 1 })).status === 201) this.#added.push(sku);
        this.#count();
        if ((await shop.post('/products/all/price-changes', { by: 1 })).status === 200) this.#raised += 1;
        this.#count();
        if ((await shop.post('/stock/all/receipts', { quantity: 1 })).status === 201) this.#received += 1;
        this.#count();
      }
    } catch (error) {
      if ((error as Error).name !== 'TypeError') throw error; // fetch says so when nobody answers; not instanceof: it is not of Jest's realm
    }
  }

  reached(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#asked = { count, resolve };
    });
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
    expect(((await shop.get('/products/all')).body as { priceCents: number }).priceCents).toBeGreaterThanOrEqual(this.#raised);
    expect(((await shop.get('/stock/all')).body as { onHand: number }).onHand).toBeGreaterThanOrEqual(this.#received);
    expect(this.#added.length * this.#raised * this.#received).toBeGreaterThan(0);
  }

  #count(): void {
    this.#answered += 1;
    if (this.#asked !== undefined && this.#answered >= this.#asked.count) this.#asked.resolve();
  }
}
