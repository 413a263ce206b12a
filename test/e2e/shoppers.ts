/**
 * Fifty shoppers who all want the same few goods, send everything more than once, and meet a bank
 * that fails: for tests that look at what is left of the truth. A shopper whose shop is gone in the
 * middle goes on where they were, at the same shop or at another.
 */
import { expect } from '@jest/globals';
import type { KeyValueStorage } from '@kvent/key-value-storage';
import { BankBooks } from '../../apps/storefront/src/orders/bank.js';
import { until } from '../postgres/until.js';
import type { Answer, Client } from './client.js';

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
}

/** One shopper: what they want, and what they have heard. */
class Shopper {
  readonly #number: number;
  /** The next thing to do. */
  #next: 'order' | 'pay' | 'decide' | 'nothing' = 'order';
  order: string | undefined;

  constructor(number: number) {
    this.#number = number;
  }

  get isDone(): boolean {
    return this.#next === 'nothing';
  }

  /** Until everything is done; rejects with a TypeError when nobody answers any more. */
  async shop(client: Client, told: (what: 'ordered' | 'paid') => void): Promise<void> {
    if (this.#next === 'order') await this.#order(client);
    if (this.order !== undefined) told('ordered');
    if (this.#next === 'pay') await this.#pay(client);
    if (this.#next === 'decide') told('paid');
    if (this.#next === 'decide') await this.#decide(client);
  }

  /** The same request again, much later. */
  async repeat(client: Client): Promise<Answer> {
    return await client.post('/orders', { cart: this.#cart }, { 'Idempotency-Key': this.#cart });
  }

  get #cart(): string {
    return `cart-${this.#number}`;
  }

  async #order(client: Client): Promise<void> {
    await this.#until('has ordered', async () => {
      // impatient: the same request twice at once
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
      else assertWorthAnotherTry(answers);
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
    await this.#until('has paid', async () => {
      const pay = (): Promise<Answer> => client.post(`/orders/${this.order}/payment`, { card });
      const answers = await Promise.all([pay(), pay()]);
      expect(answers.filter(({ status }) => status === 200 || status === 402).length).toBeLessThan(2);
      const settled = answers.find(
        ({ status, body }) => status < 300 || status === 402 || codeOf(body) === 'ORDER_NOT_PAYABLE',
      );
      if (settled === undefined) assertWorthAnotherTry(answers);
      else this.#next = 'decide';
      return settled !== undefined;
    });
  }

  /** Some think better of it, some wait for their goods, and for some it is a race. */
  async #decide(client: Client): Promise<void> {
    const ways = [['cancellation'], ['shipment'], ['shipment', 'cancellation'], []][
      this.#number % 4
    ] as readonly string[];
    await this.#until('has decided', async () => {
      const answers = await Promise.all(ways.map((way) => client.post(`/orders/${this.order}/${way}`)));
      const isSettled = ({ status, body }: Answer): boolean =>
        status === 200 || ['ORDER_NOT_PAID', 'ORDER_SHIPPED'].includes(codeOf(body) ?? '');
      assertWorthAnotherTry(answers.filter((answer) => !isSettled(answer)));
      if (answers.every(isSettled)) this.#next = 'nothing';
      return answers.every(isSettled);
    });
  }

  /**
   * Again and again, as a client does that is told to come back. Ends when the shop does not let it
   * happen within minutes.
   */
  async #until(what: string, holds: () => Promise<boolean>): Promise<void> {
    await until(`shopper ${this.#number} ${what}`, holds);
  }
}

export class Shoppers {
  readonly #shoppers = Array.from({ length: 50 }, (_, number) => new Shopper(number));
  /** As they were told last. */
  #orders: readonly Order[] = [];
  #heard = { ordered: 0, paid: 0 };
  #waiting: (() => void) | undefined;

  async begin(client: Client): Promise<void> {
    await client.put(`/tenants/${tenant}`, { name: 'Market' });
    for (const [sku, quantity] of Object.entries(stocks)) {
      await client.as(tenant).post('/products', { sku, title: sku, priceCents: 100 });
      await client.as(tenant).post(`/stock/${sku}/receipts`, { quantity });
    }
  }

  /**
   * All of them at once, until they are done, or the shop is gone. Answers whether they are done.
   */
  async shop(client: Client): Promise<boolean> {
    const told = (what: 'ordered' | 'paid'): void => {
      this.#heard[what] += 1;
      this.#waiting?.();
    };
    const ended = await Promise.allSettled(
      this.#shoppers.map((shopper) => shopper.shop(client.as(tenant), told)),
    );
    for (const end of ended) {
      // fetch says so when nobody answers; not instanceof: it is not of Jest's realm
      if (end.status === 'rejected' && (end.reason as Error).name !== 'TypeError') throw end.reason;
    }
    return this.#shoppers.every(({ isDone }) => isDone);
  }

  /** So many have ordered, and so many have paid, since the last time that the shop was opened. */
  async reached(heard: { readonly ordered: number; readonly paid: number }): Promise<void> {
    this.#heard = { ordered: 0, paid: 0 };
    await new Promise<void>((resolve) => {
      this.#waiting = () => {
        if (this.#heard.ordered >= heard.ordered && this.#heard.paid >= heard.paid) resolve();
      };
    });
  }

  /**
   * No unit was sold twice, no order was made twice, no reservation is lost, the list is not
   * behind; and every repeat still is one.
   */
  async assertTrue(client: Client): Promise<void> {
    const market = client.as(tenant);
    const orders = await ordersOf(market);
    this.#orders = orders;
    const mine = this.#shoppers.flatMap(({ order }) => order ?? []);
    expect(orders.map(({ id }) => id).sort()).toEqual([...mine].sort());
    expect(new Set(orders.map(({ status }) => status))).toEqual(
      new Set(['paid', 'declined', 'cancelled', 'shipped']),
    );
    for (const [sku, received] of Object.entries(stocks)) await assertStock(market, sku, received, orders);
    for (const shopper of this.#shoppers.filter(({ order }) => order !== undefined)) {
      const answer = await shopper.repeat(market);
      expect([answer.status, (answer.body as Order).id, answer.headers.get('idempotency-replayed')]).toEqual([
        201,
        shopper.order,
        'true',
      ]);
    }
    expect(mine.length).toBeLessThan(this.#shoppers.length);
  }

  /** Who has goods coming has paid, and nobody else has. */
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
  const told = new Map<string, string>();
  for (const { type, data } of items) {
    if (type === 'received' || type === 'committed')
      onHand += type === 'received' ? data.quantity : -data.quantity;
    if (type !== 'received') reserved += type === 'reserved' ? data.quantity : -data.quantity;
    expect([reserved >= 0, reserved <= onHand]).toEqual([true, true]);
    if (type !== 'received') told.set(data.order, `${told.get(data.order) ?? ''} ${type} ${data.quantity}`);
  }
  const becomes: Readonly<Record<string, string>> = {
    shipped: 'committed',
    cancelled: 'released',
    declined: 'released',
  };
  const expected = orders.flatMap(({ id, status, items }) => {
    const quantity = items.find((item) => item.sku === sku)?.quantity;
    if (quantity === undefined) return [];
    return [
      [id, ` reserved ${quantity}${becomes[status] === undefined ? '' : ` ${becomes[status]} ${quantity}`}`],
    ];
  });
  expect([...told].sort()).toEqual(expected.sort());
  const shown = { onHand, reserved, available: onHand - reserved, version: items.length };
  expect((await market.get(`/stock/${sku}`)).body).toEqual(shown);
  expect(onHand).toBeLessThanOrEqual(received);
}

const codeOf = (body: unknown): string | undefined => (body as { code?: string } | undefined)?.code;
const codesOf = (answers: readonly Answer[]): (string | undefined)[] =>
  answers.map(({ body }) => codeOf(body));

/**
 * What is worth another try says so; a payment that took longer than it may hold its order is one
 * that is sent again. Nothing else was to be expected.
 */
function assertWorthAnotherTry(answers: readonly Answer[]): void {
  const isExpected = ({ body }: Answer): boolean =>
    (body as { retryable?: boolean }).retryable === true ||
    ['INSUFFICIENT_STOCK', 'SESSION_EXPIRED', 'SESSION_LOST'].includes(codeOf(body) ?? '');
  expect(answers.filter((answer) => !isExpected(answer)).map(({ status, text }) => [status, text])).toEqual(
    [],
  );
}
