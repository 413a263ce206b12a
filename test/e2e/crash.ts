/** Whatever ends the running shop, every write that it has answered with 2xx is there when it opens again. */
import { describe, expect, it } from '@jest/globals';
import type { Client } from './client.js';
import { ShopProcess } from './shop-process.js';
import { lasting, type StorageUnderTest } from './storages.js';

const writers = 16;
const enough = 300;

export function crashes(): void {
  describe.each(lasting)('What was answered, on $name,', survives);
}

function survives(storage: StorageUnderTest): void {
  it.each(['SIGKILL', 'SIGTERM'] as const)(
    'is there after a %s under load',
    async (signal) => {
      await using place = await storage.place();
      const { setting } = place;
      const load = new Load();
      await using first = await ShopProcess.open({ storage: setting });
      await load.begin(first.client);
      const working = Promise.all(Array.from({ length: writers }, (_, writer) => load.write(writer, first.client)));
      await load.reached(enough);
      const ended = await first.kill(signal);
      await working;
      // Node ends the connections: nobody is left waiting for an answer.
      expect(ended).toMatchObject(signal === 'SIGKILL' ? { signal } : { code: 0, stderr: '' });

      await using second = await ShopProcess.open({ storage: setting });
      await load.assertThere(second.client);
      expect(await second.client.as('acme').post('/products', { sku: 'after', title: 'After', priceCents: 1 })).toMatchObject({
        status: 201,
      });
    },
    30_000,
  );

  it('is there after three crashes in a row', async () => {
    await using place = await storage.place();
    const load = new Load();
    for (let round = 1; round <= 3; round += 1) {
      await using shop = await ShopProcess.open({ storage: place.setting });
      if (round === 1) await load.begin(shop.client);
      else await load.assertThere(shop.client);
      const working = Promise.all(Array.from({ length: writers }, (_, writer) => load.write(writer + round * writers, shop.client)));
      await load.reached(round * 100);
      await shop.kill('SIGKILL');
      await working;
    }
    await using last = await ShopProcess.open({ storage: place.setting });
    await load.assertThere(last.client);
  });
}

/** Products of their own, and one product and one stock that all of them change. */
class Load {
  readonly #added: string[] = [];
  #raised = 0;
  #received = 0;
  #answered = 0;
  #asked: { readonly count: number; readonly resolve: () => void } | undefined;

  async begin(client: Client): Promise<void> {
    await client.put('/tenants/load', { name: 'Load' });
    await client.as('load').post('/products', { sku: 'all', title: 'All', priceCents: 0 });
  }

  /** Writes until the shop is gone. */
  async write(writer: number, client: Client): Promise<void> {
    const shop = client.as('load');
    try {
      for (let n = 0; ; n += 1) {
        const sku = `w${writer}-${n}`;
        if ((await shop.post('/products', { sku, title: sku, priceCents: n })).status === 201) this.#added.push(sku);
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
