/**
 * A thousand random requests of two tenants, interleaved: after each one the shop answers what a model made of plain maps says, and in the end
 * nobody has a row of the other, nor lost one, also after a restart. A failing run prints its seed; KVENT_SEED=<seed> runs it again.
 */
import { expect, it } from '@jest/globals';
import { randomInt } from 'node:crypto';
import { etagOf, type Answer, type Client } from './client.js';
import { onEachStorage } from './shop.js';

const operations = 1_000;
const skus = ['bag', 'cap', 'mug', 'pen', 'toy'];

interface Product {
  readonly sku: string;
  readonly title: string;
  readonly priceCents: number;
  readonly tags: readonly string[];
}
interface Model {
  readonly products: Map<string, { readonly value: Product; etag: string }>;
  readonly carts: Map<string, Map<string, number>>;
  readonly stock: Map<string, { onHand: number; reserved: number; version: number }>;
}

onEachStorage('Two tenants', (shop) => {
  it('find their own rows and no others, whatever they do at the same time', async () => {
    const seed = Number(process.env['KVENT_SEED'] ?? randomInt(2 ** 31));
    const clients = [await shop.tenant(), await shop.tenant()] as const;
    const tenants = clients.map((client, index) => new Tenant(client, `of ${index}`, random(seed + index)));
    try {
      for (let done = 0; done < operations; done += tenants.length) await Promise.all(tenants.map((tenant) => tenant.next()));
      for (const tenant of tenants) await tenant.assertWhole();
      if (!shop.storage.survives) return;
      await shop.restart();
      // the same tenants, at the new address
      for (const [index, tenant] of tenants.entries()) await tenant.moved(shop.client.as(`tenant-${index + 1}`)).assertWhole();
    } catch (error) {
      process.stderr.write(`random-operations: KVENT_SEED=${seed}\n`);
      throw error;
    }
  });
});

class Tenant {
  readonly #client: Client;
  readonly #mark: string;
  readonly #random: (below: number) => number;
  readonly #model: Model;

  constructor(client: Client, mark: string, chance: (below: number) => number, model?: Model) {
    this.#client = client;
    this.#mark = mark;
    this.#random = chance;
    this.#model = model ?? { products: new Map(), carts: new Map(), stock: new Map() };
  }

  moved(client: Client): Tenant {
    return new Tenant(client, this.#mark, this.#random, this.#model);
  }

  async next(): Promise<void> {
    const sku = skus[this.#random(skus.length)] as string;
    const work = [
      () => this.#add(sku),
      () => this.#add(sku),
      () => this.#replace(sku),
      () => this.#remove(sku),
      () => this.#changePrice(sku),
      () => this.#changePrice(sku),
      () => this.#read(sku),
      () => this.#list(),
      () => this.#putIntoCart(sku),
      () => this.#readCart(),
      () => this.#receive(sku),
      () => this.#reserve(sku),
      () => this.#reserve(sku),
    ];
    await (work[this.#random(work.length)] as () => Promise<void>)();
  }

  /** Everything that can be seen is what the model holds, and nothing else. */
  async assertWhole(): Promise<void> {
    await this.#list();
    for (const sku of skus) {
      await this.#read(sku);
      await this.#assertStock(sku);
    }
    for (const cart of carts) await this.#assertCart(cart);
  }

  async #add(sku: string): Promise<void> {
    const value = this.#product(sku);
    const answer = await this.#client.post('/products', value);
    if (this.#model.products.has(sku)) return expectStatus(answer, 409);
    expectStatus(answer, 201);
    this.#model.products.set(sku, { value, etag: etagOf(answer) });
  }

  /** With the etag of the moment, or with the one before it. */
  async #replace(sku: string): Promise<void> {
    const known = this.#model.products.get(sku);
    const fits = known !== undefined && this.#random(3) > 0;
    const { sku: _, ...body } = this.#product(sku);
    const answer = await this.#client.put(`/products/${sku}`, body, { 'If-Match': fits ? known.etag : '"17"' });
    if (!fits) return expectStatus(answer, 412);
    expectStatus(answer, 200);
    this.#model.products.set(sku, { value: { sku, ...body }, etag: etagOf(answer) });
  }

  async #remove(sku: string): Promise<void> {
    const known = this.#model.products.get(sku);
    const answer = await this.#client.delete(`/products/${sku}`, { 'If-Match': known?.etag ?? '*' });
    if (known === undefined) return expectStatus(answer, 412);
    expectStatus(answer, 204);
    this.#model.products.delete(sku);
  }

  async #changePrice(sku: string): Promise<void> {
    const by = this.#random(2_000) - 1_000;
    const known = this.#model.products.get(sku);
    const answer = await this.#client.post(`/products/${sku}/price-changes`, { by });
    if (known === undefined) return expectStatus(answer, 404);
    const priceCents = known.value.priceCents + by;
    if (priceCents < 0) return expectStatus(answer, 422);
    expectStatus(answer, 200);
    this.#model.products.set(sku, { value: { ...known.value, priceCents }, etag: etagOf(answer) });
  }

  async #read(sku: string): Promise<void> {
    const known = this.#model.products.get(sku);
    const answer = await this.#client.get(`/products/${sku}`);
    if (known === undefined) return expectStatus(answer, 404);
    expectStatus(answer, 200);
    expect({ value: answer.body, etag: etagOf(answer) }).toEqual(known);
  }

  async #list(): Promise<void> {
    const items = [...this.#model.products.values()].map(({ value }) => value).sort((a, b) => (a.sku < b.sku ? -1 : 1));
    expect((await this.#client.get('/products')).body).toEqual({ items });
  }

  async #putIntoCart(sku: string): Promise<void> {
    const cart = carts[this.#random(carts.length)] as string;
    const quantity = this.#random(5);
    const answer = await this.#client.put(`/carts/${cart}/items/${sku}`, { quantity });
    // what is sold no longer can still be taken out
    const takesOut = quantity === 0 && this.#model.carts.get(cart)?.has(sku) === true;
    if (!this.#model.products.has(sku) && !takesOut) return expectStatus(answer, 404);
    expectStatus(answer, 200);
    const items = this.#model.carts.get(cart) ?? new Map<string, number>();
    if (quantity === 0) items.delete(sku);
    else items.set(sku, quantity);
    this.#model.carts.set(cart, items);
  }

  async #readCart(): Promise<void> {
    await this.#assertCart(carts[this.#random(carts.length)] as string);
  }

  async #assertCart(cart: string): Promise<void> {
    const known = this.#model.carts.get(cart);
    const answer = await this.#client.get(`/carts/${cart}`);
    if (known === undefined) return expectStatus(answer, 404);
    const { items } = answer.body as { items: { sku: string; quantity: number }[] };
    expect(items.map(({ sku, quantity }) => [sku, quantity])).toEqual([...known]);
  }

  async #receive(sku: string): Promise<void> {
    const quantity = 1 + this.#random(5);
    const answer = await this.#client.post(`/stock/${sku}/receipts`, { quantity });
    if (!this.#model.products.has(sku)) return expectStatus(answer, 404);
    expectStatus(answer, 201);
    const { onHand, reserved, version } = this.#model.stock.get(sku) ?? { onHand: 0, reserved: 0, version: 0 };
    this.#model.stock.set(sku, { onHand: onHand + quantity, reserved, version: version + 1 });
    await this.#assertStock(sku);
  }

  /** And settles it, most of the time. */
  async #reserve(sku: string): Promise<void> {
    const quantity = 1 + this.#random(5);
    const answer = await this.#client.post(`/stock/${sku}/reservations`, { quantity });
    if (!this.#model.products.has(sku)) return expectStatus(answer, 404);
    const stock = this.#model.stock.get(sku) ?? { onHand: 0, reserved: 0, version: 0 };
    if (stock.onHand - stock.reserved < quantity) return expectStatus(answer, 409);
    expectStatus(answer, 201);
    stock.reserved += quantity;
    stock.version += 1;
    const what = (['', 'commitment', 'release'] as const)[this.#random(3)];
    if (what === '' || what === undefined) return;
    const { id } = answer.body as { id: string };
    expectStatus(await this.#client.post(`/stock/${sku}/reservations/${id}/${what}`), 200);
    stock.reserved -= quantity;
    if (what === 'commitment') stock.onHand -= quantity;
    stock.version += 1;
  }

  async #assertStock(sku: string): Promise<void> {
    const known = this.#model.stock.get(sku);
    const answer = await this.#client.get(`/stock/${sku}`);
    if (known === undefined) return expectStatus(answer, 404);
    expect(answer.body).toEqual({ ...known, available: known.onHand - known.reserved });
  }

  #product(sku: string): Product {
    return { sku, title: `${sku} ${this.#mark}`, priceCents: this.#random(2_000), tags: [this.#mark] };
  }
}

const carts = ['c1', 'c2'];

function expectStatus({ status, text }: Answer, expected: number): void {
  if (status !== expected) throw new Error(`The answer was ${status}, the model says ${expected}: ${text}`);
}

/** Small, and the same on every machine for the same seed (mulberry32). */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}
