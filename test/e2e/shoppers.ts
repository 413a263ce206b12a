/**
 * Fifty shoppers who buy the same few goods, send each request more than once, and use a bank that
 * fails. A shopper whose shop ends continues where it stopped, at the same shop or at another. The
 * assertions check orders, stock and bank afterwards.
 */
import { expect } from '@jest/globals';
import type { KeyValueStorage } from '@kvent/key-value-storage';
import { BankBooks } from '../../apps/storefront/src/orders/bank.js';
import { until } from '../postgres/until.js';
import { readCaughtUp, type Answer, type Client } from './client.js';

const tenant = 'market';
const stocks: Readonly<Record<string, number>> = { mug: 40, pen: 70, hat: 30 };

type Movement = {
  readonly version: number;
  readonly type: string;
  readonly data: { readonly quantity: number; readonly order: string };
};
interface Order {
  readonly id: string;
  readonly status: string;
  readonly items: readonly { readonly sku: string; readonly quantity: number }[];
  readonly totalCents: number;
}

/** One shopper: what it buys, and the last answers. */
class Shopper {
  readonly #number: number;
  /** The next step. */
  #next: 'order' | 'pay' | 'decide' | 'nothing' = 'order';
  order: string | undefined;

  constructor(number: number) {
    this.#number = number;
  }

  get isDone(): boolean {
    return this.#next === 'nothing';
  }

  /** Does all steps. Rejects with a TypeError if the shop ends. */
  async shop(client: Client, onProgress: (what: 'ordered' | 'paid') => void): Promise<void> {
    if (this.#next === 'order') await this.#order(client);
    if (this.order !== undefined) onProgress('ordered');
    if (this.#next === 'pay') await this.#pay(client);
    if (this.#next === 'decide') onProgress('paid');
    if (this.#next === 'decide') await this.#cancelOrShip(client);
  }

  /** Sends the order again, with its idempotency key. */
  async repeat(client: Client): Promise<Answer> {
    return await client.post('/orders', { cart: this.#cart }, { 'Idempotency-Key': this.#cart });
  }

  get #cart(): string {
    return `cart-${this.#number}`;
  }

  async #order(client: Client): Promise<void> {
    await this.#until('orders', async () => {
      // the same request twice at the same time
      const answers = await Promise.all([this.repeat(client), this.repeat(client)]);
      const ids = new Set(
        answers.filter(({ status }) => status === 201).map(({ body }) => (body as Order).id),
      );
      expect(ids.size).toBeLessThanOrEqual(1);
      expect(
        answers.filter(
          ({ status, headers }) => status === 201 && headers.get('idempotency-replayed') === null,
        ).length,
      ).toBeLessThan(2);
      for (const id of ids) this.order = id;
      if (this.order !== undefined) this.#next = 'pay';
      else if (codesOf(answers).every((code) => code === 'INSUFFICIENT_STOCK')) this.#next = 'nothing';
      else if (codesOf(answers).includes('CART_NOT_FOUND')) await this.#fill(client);
      else assertExpectedFailures(answers);
      return this.#next !== 'order';
    });
  }

  async #fill(client: Client): Promise<void> {
    const wanted = [
      ['mug', 1 + (this.#number % 2)] as const,
      ['pen', 1 + (this.#number % 3)] as const,
      ['hat', this.#number % 2] as const,
    ];
    for (const [sku, quantity] of wanted)
      if (quantity > 0) await client.put(`/carts/${this.#cart}/items/${sku}`, { quantity });
  }

  async #pay(client: Client): Promise<void> {
    const card = this.#number % 5 === 0 ? 'declined' : 'ok';
    await this.#until('pays', async () => {
      const pay = (): Promise<Answer> => client.post(`/orders/${this.order}/payment`, { card });
      const answers = await Promise.all([pay(), pay()]);
      expect(answers.filter(({ status }) => status === 200 || status === 402).length).toBeLessThan(2);
      const settled = answers.find(
        ({ status, body }) => status < 300 || status === 402 || codeOf(body) === 'ORDER_NOT_PAYABLE',
      );
      if (settled === undefined) assertExpectedFailures(answers);
      else this.#next = 'decide';
      return settled !== undefined;
    });
  }

  /**
   * A quarter cancel, a quarter have it shipped, a quarter do both at once, and a quarter neither.
   */
  async #cancelOrShip(client: Client): Promise<void> {
    const actions = [['cancellation'], ['shipment'], ['shipment', 'cancellation'], []][
      this.#number % 4
    ] as readonly string[];
    await this.#until('decides', async () => {
      const answers = await Promise.all(
        actions.map((action) => client.post(`/orders/${this.order}/${action}`)),
      );
      const isSettled = ({ status, body }: Answer): boolean =>
        status === 200 || ['ORDER_NOT_PAID', 'ORDER_SHIPPED'].includes(codeOf(body) ?? '');
      assertExpectedFailures(answers.filter((answer) => !isSettled(answer)));
      if (answers.every(isSettled)) this.#next = 'nothing';
      return answers.every(isSettled);
    });
  }

  /** Repeats a step, as a client repeats a retryable request. Fails after minutes. */
  async #until(what: string, holds: () => Promise<boolean>): Promise<void> {
    await until(`shopper ${this.#number} ${what}`, holds);
  }
}

export class Shoppers {
  readonly #shoppers = Array.from({ length: 50 }, (_, number) => new Shopper(number));
  /** As listed by the last `assertConsistent`. */
  #orders: readonly Order[] = [];
  #progress = { ordered: 0, paid: 0 };
  #waiting: (() => void) | undefined;

  async prepare(client: Client): Promise<void> {
    await client.put(`/tenants/${tenant}`, { name: 'Market' });
    for (const [sku, quantity] of Object.entries(stocks)) {
      await client.as(tenant).post('/products', { sku, title: sku, priceCents: 100 });
      await client.as(tenant).post(`/stock/${sku}/receipts`, { quantity });
    }
  }

  /**
   * All shoppers concurrently, until they are done or the shop ends. Returns whether they are done.
   */
  async shopAt(client: Client): Promise<boolean> {
    const onProgress = (what: 'ordered' | 'paid'): void => {
      this.#progress[what] += 1;
      this.#waiting?.();
    };
    const ended = await Promise.allSettled(
      this.#shoppers.map((shopper) => shopper.shop(client.as(tenant), onProgress)),
    );
    for (const end of ended) {
      // The error of fetch if the shop has ended. Not instanceof: its class is of another realm.
      if (end.status === 'rejected' && (end.reason as Error).name !== 'TypeError') throw end.reason;
    }
    return this.#shoppers.every(({ isDone }) => isDone);
  }

  /** Resolves when so many shoppers have ordered and so many have paid since this call. */
  async reached(progress: { readonly ordered: number; readonly paid: number }): Promise<void> {
    this.#progress = { ordered: 0, paid: 0 };
    await new Promise<void>((resolve) => {
      this.#waiting = () => {
        if (this.#progress.ordered >= progress.ordered && this.#progress.paid >= progress.paid) resolve();
      };
    });
  }

  /**
   * No unit was sold twice, no order was created twice, no reservation is lost, the list of orders
   * is up to date, a repeated order returns the first answer, each order is in the sales once, and
   * each paid one in the revenue.
   */
  async assertConsistent(client: Client): Promise<void> {
    const market = client.as(tenant);
    const orders = await ordersOf(market);
    this.#orders = orders;
    const ordered = this.#shoppers.flatMap(({ order }) => order ?? []);
    expect(orders.map(({ id }) => id).sort()).toEqual([...ordered].sort());
    expect(new Set(orders.map(({ status }) => status))).toEqual(
      new Set(['paid', 'declined', 'cancelled', 'shipped']),
    );
    for (const [sku, received] of Object.entries(stocks)) await assertStock(market, sku, received, orders);
    const positions: string[] = [];
    for (const shopper of this.#shoppers.filter(({ order }) => order !== undefined)) {
      const answer = await shopper.repeat(market);
      positions.push(answer.headers.get('kvent-position') ?? '');
      expect([answer.status, (answer.body as Order).id, answer.headers.get('idempotency-replayed')]).toEqual([
        201,
        shopper.order,
        'true',
      ]);
    }
    await assertSales(market, positions.join(', '), orders);
    const paid = orders.filter(({ status }) => status === 'paid' || status === 'shipped');
    expect((await market.get('/reports/revenue')).body).toEqual({
      cents: String(sum(paid.map(({ totalCents }) => totalCents))),
    });
    expect(ordered.length).toBeLessThan(this.#shoppers.length);
  }

  /** The bank has charged exactly the paid and the shipped orders. */
  async assertBooks(storage: KeyValueStorage): Promise<void> {
    const books = storage.store(BankBooks).forTenant(tenant);
    for (const { id, status } of this.#orders) {
      const isCharged = (await books.get(id))?.value.status === 'charged';
      expect([id, status, isCharged]).toEqual([id, status, status === 'paid' || status === 'shipped']);
    }
  }
}

async function ordersOf(market: Client): Promise<readonly Order[]> {
  const { items } = (await market.get('/orders?limit=1000')).body as {
    items: { id: string; status: string }[];
  };
  const orders = await Promise.all(
    items.map(async ({ id }) => (await market.get(`/orders/${id}`)).body as Order),
  );
  expect(orders.map(({ id, status }) => [id, status])).toEqual(items.map(({ id, status }) => [id, status]));
  return orders;
}

async function assertStock(
  market: Client,
  sku: string,
  received: number,
  orders: readonly Order[],
): Promise<void> {
  const { items } = (await market.get(`/stock/${sku}/movements?limit=1000`)).body as { items: Movement[] };
  let [onHand, reserved] = [0, 0];
  const movements = new Map<string, string>();
  for (const { type, data } of items) {
    if (type === 'received' || type === 'committed')
      onHand += type === 'received' ? data.quantity : -data.quantity;
    if (type !== 'received') reserved += type === 'reserved' ? data.quantity : -data.quantity;
    expect([reserved >= 0, reserved <= onHand]).toEqual([true, true]);
    if (type !== 'received')
      movements.set(data.order, `${movements.get(data.order) ?? ''} ${type} ${data.quantity}`);
  }
  const finalMovement: Readonly<Record<string, string>> = {
    shipped: 'committed',
    cancelled: 'released',
    declined: 'released',
  };
  const expected = orders.flatMap(({ id, status, items }) => {
    const quantity = items.find((item) => item.sku === sku)?.quantity;
    if (quantity === undefined) return [];
    return [
      [
        id,
        ` reserved ${quantity}${finalMovement[status] === undefined ? '' : ` ${finalMovement[status]} ${quantity}`}`,
      ],
    ];
  });
  expect([...movements].sort()).toEqual(expected.sort());
  const shown = { onHand, reserved, available: onHand - reserved, version: items.length };
  expect((await market.get(`/stock/${sku}`)).body).toEqual(shown);
  expect(onHand).toBeLessThanOrEqual(received);
}

async function assertSales(market: Client, position: string, orders: readonly Order[]): Promise<void> {
  // the leases of a shop that was killed expire later
  const { status, body } = await readCaughtUp(market, '/reports/sales?limit=1000', {
    'Kvent-Position': position,
  });
  expect(status).toBe(200);
  const { items } = body as {
    readonly items: readonly { readonly sku: string; readonly orders: number; readonly quantity: number }[];
  };
  for (const sku of Object.keys(stocks)) {
    const ordered = orders.flatMap((order) => order.items.filter((item) => item.sku === sku));
    const sold = items.filter((item) => item.sku === sku);
    expect([sku, sum(sold.map((item) => item.orders)), sum(sold.map(({ quantity }) => quantity))]).toEqual([
      sku,
      ordered.length,
      sum(ordered.map(({ quantity }) => quantity)),
    ]);
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((before, number) => before + number, 0);

const codeOf = (body: unknown): string | undefined => (body as { code?: string } | undefined)?.code;
const codesOf = (answers: readonly Answer[]): (string | undefined)[] =>
  answers.map(({ body }) => codeOf(body));

/** Fails unless each answer is retryable, out of stock, or a payment whose session ended. */
function assertExpectedFailures(answers: readonly Answer[]): void {
  const isExpected = ({ body }: Answer): boolean =>
    (body as { retryable?: boolean }).retryable === true ||
    ['INSUFFICIENT_STOCK', 'SESSION_EXPIRED', 'SESSION_LOST'].includes(codeOf(body) ?? '');
  expect(answers.filter((answer) => !isExpected(answer)).map(({ status, text }) => [status, text])).toEqual(
    [],
  );
}
