/**
 * Random requests of two tenants, interleaved. After each request the answer is compared with a
 * model of plain maps; at the end, and after a restart, so are all rows. A failing run prints its
 * seed; KVENT_SEED=<seed> repeats it.
 */
import { expect, it } from '@jest/globals';
import { seedOfRun } from '../seed.mjs';
import { etagOf, type Answer, type Client } from './client.js';
import { onEachStorage } from './shop.js';
import type { StorageUnderTest } from './storages.js';

/** The number of operations, each of up to four requests; fewer on slow storages. */
const operationsOn = ({ shared }: StorageUnderTest): number => (shared ? 300 : 600);
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
  readonly orders: Map<string, Order>;
}
interface Order {
  status: 'placed' | 'paid' | 'declined' | 'cancelled' | 'shipped';
  version: number;
  readonly items: readonly (readonly [string, number])[];
  readonly totalCents: number;
}

onEachStorage('Two tenants', (shop) => {
  it('see their own rows only, under concurrent random operations', async () => {
    const seed = seedOfRun();
    const clients = [await shop.createTenant(), await shop.createTenant()] as const;
    const tenants = clients.map((client, index) => new Tenant(client, `of ${index}`, random(seed + index)));
    try {
      for (let count = 0; count < operationsOn(shop.subject); count += tenants.length)
        await Promise.all(tenants.map((tenant) => tenant.next()));
      for (const tenant of tenants) await tenant.assertAll();
      expect(tenants.reduce((sum, { orders }) => sum + orders, 0)).toBeGreaterThan(4);
      if (!shop.subject.durable) return;
      await shop.restart();
      // The restarted shop has another port.
      for (const [index, tenant] of tenants.entries())
        await tenant.withClient(shop.client.as(`tenant-${index + 1}`)).assertAll();
    } catch (error) {
      process.stderr.write(`random-operations: KVENT_SEED=${seed}\n`);
      throw error;
    }
  });
});

class Tenant {
  readonly #client: Client;
  readonly #label: string;
  readonly #random: (below: number) => number;
  readonly #model: Model;
  #orderKeys = 0;

  constructor(client: Client, label: string, random: (below: number) => number, model?: Model) {
    this.#client = client;
    this.#label = label;
    this.#random = random;
    this.#model = model ?? { products: new Map(), carts: new Map(), stock: new Map(), orders: new Map() };
  }

  get orders(): number {
    return this.#model.orders.size;
  }

  withClient(client: Client): Tenant {
    return new Tenant(client, this.#label, this.#random, this.#model);
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
      () => this.#receive(sku),
      () => this.#order(),
      () => this.#order(),
      () => this.#proceed(),
      () => this.#proceed(),
    ];
    await (work[this.#random(work.length)] as () => Promise<void>)();
  }

  /** All rows that can be read equal the model. */
  async assertAll(): Promise<void> {
    await this.#list();
    for (const sku of skus) {
      await this.#read(sku);
      await this.#assertStock(sku);
    }
    for (const cart of carts) await this.#assertCart(cart);
    await this.#listOrders();
    for (const [id, { status, version }] of this.#model.orders) {
      const answer = await this.#client.get(`/orders/${id}`);
      expect([(answer.body as Order).status, etagOf(answer).split('-')[0]]).toEqual([status, `"v${version}`]);
    }
  }

  async #add(sku: string): Promise<void> {
    const value = this.#product(sku);
    const answer = await this.#client.post('/products', value);
    if (this.#model.products.has(sku)) return expectStatus(answer, 409);
    expectStatus(answer, 201);
    this.#model.products.set(sku, { value, etag: etagOf(answer) });
  }

  /** With the current etag, or with a wrong one. */
  async #replace(sku: string): Promise<void> {
    const expected = this.#model.products.get(sku);
    const isCurrent = expected !== undefined && this.#random(3) > 0;
    const { sku: _, ...body } = this.#product(sku);
    const answer = await this.#client.put(`/products/${sku}`, body, {
      'If-Match': isCurrent ? expected.etag : '"17"',
    });
    if (!isCurrent) return expectStatus(answer, 412);
    expectStatus(answer, 200);
    this.#model.products.set(sku, { value: { sku, ...body }, etag: etagOf(answer) });
  }

  async #remove(sku: string): Promise<void> {
    const expected = this.#model.products.get(sku);
    const answer = await this.#client.delete(`/products/${sku}`, { 'If-Match': expected?.etag ?? '*' });
    if (expected === undefined) return expectStatus(answer, 412);
    expectStatus(answer, 204);
    this.#model.products.delete(sku);
  }

  async #changePrice(sku: string): Promise<void> {
    const by = this.#random(2_000) - 1_000;
    const expected = this.#model.products.get(sku);
    const answer = await this.#client.post(`/products/${sku}/price-changes`, { by });
    if (expected === undefined) return expectStatus(answer, 404);
    const priceCents = expected.value.priceCents + by;
    if (priceCents < 0) return expectStatus(answer, 422);
    expectStatus(answer, 200);
    this.#model.products.set(sku, { value: { ...expected.value, priceCents }, etag: etagOf(answer) });
  }

  async #read(sku: string): Promise<void> {
    const expected = this.#model.products.get(sku);
    const answer = await this.#client.get(`/products/${sku}`);
    if (expected === undefined) return expectStatus(answer, 404);
    expectStatus(answer, 200);
    expect({ value: answer.body, etag: etagOf(answer) }).toEqual(expected);
  }

  async #list(): Promise<void> {
    const items = [...this.#model.products.values()]
      .map(({ value }) => value)
      .sort((a, b) => (a.sku < b.sku ? -1 : 1));
    expect((await this.#client.get('/products')).body).toEqual({ items });
  }

  async #putIntoCart(sku: string, cart = this.#anyCart(), quantity = this.#random(5)): Promise<void> {
    const answer = await this.#client.put(`/carts/${cart}/items/${sku}`, { quantity });
    // Deleted products can still be removed from a cart.
    const isRemoval = quantity === 0 && this.#model.carts.get(cart)?.has(sku) === true;
    if (!this.#model.products.has(sku) && !isRemoval) return expectStatus(answer, 404);
    expectStatus(answer, 200);
    const items = this.#model.carts.get(cart) ?? new Map<string, number>();
    if (quantity === 0) items.delete(sku);
    else items.set(sku, quantity);
    this.#model.carts.set(cart, items);
  }

  async #readCart(): Promise<void> {
    await this.#assertCart(this.#anyCart());
  }

  async #assertCart(cart: string): Promise<void> {
    const expected = this.#model.carts.get(cart);
    const answer = await this.#client.get(`/carts/${cart}`);
    if (expected === undefined) return expectStatus(answer, 404);
    const { items } = answer.body as { items: { sku: string; quantity: number }[] };
    expect(items.map(({ sku, quantity }) => [sku, quantity])).toEqual([...expected]);
  }

  async #receive(sku: string): Promise<void> {
    const quantity = 1 + this.#random(5);
    const answer = await this.#client.post(`/stock/${sku}/receipts`, { quantity });
    if (!this.#model.products.has(sku)) return expectStatus(answer, 404);
    expectStatus(answer, 201);
    const { onHand, reserved, version } = this.#model.stock.get(sku) ?? {
      onHand: 0,
      reserved: 0,
      version: 0,
    };
    this.#model.stock.set(sku, { onHand: onHand + quantity, reserved, version: version + 1 });
    await this.#assertStock(sku);
  }

  /**
   * Orders a cart, usually with available goods in it, and repeats the request with the same key.
   */
  async #order(): Promise<void> {
    const cart = this.#anyCart();
    const sold = [...this.#model.products.keys()];
    const available = sold[this.#random(sold.length + 1)];
    if (available !== undefined) {
      await this.#receive(available);
      await this.#putIntoCart(available, cart, 1 + this.#random(3));
    }
    const key = { 'Idempotency-Key': `order-${this.#orderKeys}` };
    this.#orderKeys += 1;
    const answer = await this.#client.post('/orders', { cart }, key);
    const items = [...(this.#model.carts.get(cart) ?? [])];
    const isAvailable = ([sku, quantity]: readonly [string, number]): boolean => {
      const { onHand, reserved } = this.#model.stock.get(sku) ?? { onHand: 0, reserved: 0 };
      return onHand - reserved >= quantity;
    };
    if (!this.#model.carts.has(cart)) return expectStatus(answer, 404);
    if (items.length === 0) return expectStatus(answer, 409);
    if (!items.every(([sku]) => this.#model.products.has(sku))) return expectStatus(answer, 404);
    if (!items.every(isAvailable)) return expectStatus(answer, 409);
    expectStatus(answer, 201);
    const prices = items.map(
      ([sku, quantity]) => quantity * (this.#model.products.get(sku)?.value.priceCents ?? Number.NaN),
    );
    const totalCents = prices.reduce((sum, cents) => sum + cents, 0);
    const { id } = answer.body as { id: string };
    this.#model.orders.set(id, { status: 'placed', version: 1, items, totalCents });
    this.#model.carts.delete(cart);
    this.#moveStock(items, 0, 1);
    expect(answer.body).toMatchObject({ status: 'placed', totalCents });
    expect((await this.#client.post('/orders', { cart }, key)).body).toEqual(answer.body);
  }

  /** Pays, cancels or ships one of the orders. */
  async #proceed(): Promise<void> {
    const ids = [...this.#model.orders.keys()];
    const id = ids[this.#random(ids.length + 1)] ?? 'none';
    const order = this.#model.orders.get(id);
    const what = (['payment', 'payment', 'payment', 'cancellation', 'shipment', 'shipment'] as const)[
      this.#random(6)
    ];
    const card = this.#random(4) === 0 ? 'declined' : 'ok';
    const answer = await this.#client.post(
      `/orders/${id}/${what}`,
      what === 'payment' ? { card } : undefined,
    );
    if (order === undefined) return expectStatus(answer, 404);
    if (what === 'payment') {
      if (order.status !== 'placed') return expectStatus(answer, 409);
      expectStatus(answer, card === 'ok' ? 200 : 402);
      return this.#changeStatus(order, card === 'ok' ? 'paid' : 'declined');
    }
    if (what === 'cancellation') {
      expectStatus(answer, order.status === 'shipped' ? 409 : 200);
      return order.status === 'placed' || order.status === 'paid'
        ? this.#changeStatus(order, 'cancelled')
        : undefined;
    }
    expectStatus(answer, order.status === 'paid' || order.status === 'shipped' ? 200 : 409);
    if (order.status === 'paid') this.#changeStatus(order, 'shipped');
  }

  #changeStatus(order: Order, status: Order['status']): void {
    order.status = status;
    order.version += 1;
    if (status === 'shipped') this.#moveStock(order.items, -1, -1);
    if (status === 'declined' || status === 'cancelled') this.#moveStock(order.items, 0, -1);
  }

  #moveStock(items: Order['items'], onHand: number, reserved: number): void {
    for (const [sku, quantity] of items) {
      const stock = this.#model.stock.get(sku);
      if (stock === undefined) throw new Error(`The model has no stock of ${sku}.`);
      stock.onHand += onHand * quantity;
      stock.reserved += reserved * quantity;
      stock.version += 1;
    }
  }

  async #listOrders(): Promise<void> {
    const { items } = (await this.#client.get('/orders?limit=1000')).body as {
      items: { id: string; status: string; totalCents: number }[];
    };
    const shown = items.map(({ id, status, totalCents }) => [id, status, totalCents]).sort();
    expect(shown).toEqual(
      [...this.#model.orders].map(([id, { status, totalCents }]) => [id, status, totalCents]).sort(),
    );
  }

  async #assertStock(sku: string): Promise<void> {
    const expected = this.#model.stock.get(sku);
    const answer = await this.#client.get(`/stock/${sku}`);
    if (expected === undefined) return expectStatus(answer, 404);
    expect(answer.body).toEqual({ ...expected, available: expected.onHand - expected.reserved });
  }

  #anyCart(): string {
    return carts[this.#random(carts.length)] as string;
  }

  #product(sku: string): Product {
    return { sku, title: `${sku} ${this.#label}`, priceCents: this.#random(2_000), tags: [this.#label] };
  }
}

const carts = ['c1', 'c2'];

function expectStatus({ status, text }: Answer, expected: number): void {
  if (status !== expected) throw new Error(`The status must be ${expected}; got ${status}: ${text}`);
}

/** The generator mulberry32: the same numbers for the same seed on every machine. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}
