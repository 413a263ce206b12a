/**
 * Two shops on one Postgres sell over HTTP, and one after the other is killed at a random moment
 * and replaced. The sales of the projection must be those of the streams of the orders, and each
 * order has one mail.
 */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KeyValueStorage } from '@kvent/key-value-storage';
import { readCaughtUp, type Answer, type Client } from '../e2e/client.js';
import { ShopProcess } from '../e2e/shop-process.js';
import { openShopStorage, storedOrders } from '../e2e/stored-orders.js';
import { until } from '../postgres/until.js';
import type { KillReport } from './projections-work.js';
import type { Random } from './seeded-random.js';

interface KillOptions {
  readonly kills: number;
  readonly random: Random;
}
type ShopReport = Omit<KillReport, 'builds'>;

const tenant = 'acme';
const ordersAtOnce = 6;
/** Positions in one header: Node refuses headers from 16 KiB. */
const positionsAtOnce = 100;

/** `events` of the report: orders. Needs `npm run build`. */
export async function killShops(
  url: string,
  { kills, random }: KillOptions,
  onCheck: (report: ShopReport) => void,
): Promise<ShopReport> {
  const mails = await mkdtemp(join(tmpdir(), 'kvent-mails-'));
  const open = async (): Promise<ShopProcess> =>
    await ShopProcess.open({ program: 'modules', storage: url, env: { STOREFRONT_MAILS: mails } });
  const shops = [await open()];
  // the table is there by now
  await using storage = await openShopStorage(url);
  try {
    shops.push(await open());
    await first(shops).post('/stock/pen/receipts', { quantity: 100_000 });
    const sales = new Sales(shops, storage, random);
    const check = async (done: number): Promise<ShopReport> => {
      const report = { kills: done, events: await sales.compare() };
      await until('each order has a mail', async () => (await sent(mails)) === report.events);
      onCheck(report);
      return report;
    };
    for (let done = 0; done < kills; done += 1) {
      const next = open();
      const selling = sales.sell(ordersAtOnce + random.below(40));
      await sales.sold(1 + random.below(ordersAtOnce));
      const [victim] = shops.splice(random.below(shops.length), 1);
      await victim?.kill('SIGKILL');
      shops.push(await next);
      await selling;
      if (done % 10 === 9) await check(done + 1);
    }
    return await check(kills);
  } finally {
    for (const shop of shops) await shop[Symbol.asyncDispose]();
    await rm(mails, { recursive: true, force: true });
  }
}

const first = ([shop]: readonly ShopProcess[]): Client => (shop as ShopProcess).client.as(tenant);

const sent = async (mails: string): Promise<number> =>
  (await readdir(mails)).filter((name) => name.endsWith('.json')).length;

class Sales {
  readonly #shops: readonly ShopProcess[];
  readonly #storage: KeyValueStorage;
  readonly #random: Random;
  /** Of the orders acknowledged since the last comparison: they are sealed, and have no order. */
  readonly #positions: string[] = [];
  readonly #ids = new Set<string>();
  #begun = 0;

  constructor(shops: readonly ShopProcess[], storage: KeyValueStorage, random: Random) {
    this.#shops = shops;
    this.#storage = storage;
    this.#random = random;
  }

  /** Orders, several at a time. */
  async sell(count: number): Promise<void> {
    for (let sold = 0; sold < count; sold += ordersAtOnce)
      await Promise.all(
        Array.from({ length: Math.min(ordersAtOnce, count - sold) }, async () => await this.#order()),
      );
  }

  /** Resolves when so many more orders are acknowledged. */
  async sold(more: number): Promise<void> {
    const target = this.#ids.size + more;
    await until('orders are acknowledged', () => this.#ids.size >= target);
  }

  /** Returns the number of orders; throws where the sales of the projection are others. */
  async compare(): Promise<number> {
    const client = first(this.#shops);
    const listed = await all<{ id: string }>(client, '/orders');
    const orders = await storedOrders(this.#storage, tenant);
    await this.#caughtUp(client);
    const days = await all<{ orders: number; cents: number }>(client, '/reports/sales');
    const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0);
    const expected = [orders.length, sum(orders.map(({ totalCents }) => totalCents))];
    const found = [sum(days.map(({ orders }) => orders)), sum(days.map(({ cents }) => cents))];
    const stored = new Set(orders.map(({ id }) => id));
    const lost = [...this.#ids].filter((id) => !stored.has(id));
    const counts = [orders.length, listed.length, this.#ids.size];
    if (String(found) !== String(expected) || lost.length > 0 || new Set(counts).size > 1)
      throw new Error(
        `Orders and cents of the streams: ${expected}; of the projection: ${found}; ${lost.length} lost; streams, listed and acknowledged: ${counts}.`,
      );
    return orders.length;
  }

  /** Sends the same order until it is acknowledged, at any shop. */
  async #order(): Promise<void> {
    const cart = `cart-${(this.#begun += 1)}`;
    await until('an order is acknowledged', async () => {
      const client = this.#random.pick(this.#shops).client.as(tenant);
      const answer = await order(client, cart).catch((error: unknown) => {
        // the shop was killed
        if (error instanceof TypeError) return undefined;
        throw error;
      });
      if (answer?.status !== 201) return false;
      this.#ids.add((answer.body as { id: string }).id);
      this.#positions.push(answer.headers.get('kvent-position') ?? '');
      return true;
    });
  }

  /** Waits until the sales have all acknowledged orders. */
  async #caughtUp(client: Client): Promise<void> {
    const positions = this.#positions.splice(0);
    for (let from = 0; from < positions.length; from += positionsAtOnce) {
      const headers = { 'Kvent-Position': positions.slice(from, from + positionsAtOnce).join(', ') };
      const { status, text } = await readCaughtUp(client, '/reports/sales?limit=1', headers);
      if (status !== 200) throw new Error(`The positions of orders were refused: ${status} ${text}`);
    }
  }
}

async function order(client: Client, cart: string): Promise<Answer> {
  await client.put(`/carts/${cart}/items/pen`, { quantity: 1 });
  return await client.post('/orders', { cart }, { 'Idempotency-Key': cart });
}

/** The items of all pages. */
async function all<Item>(client: Client, path: string): Promise<readonly Item[]> {
  const items: Item[] = [];
  for (let cursor = ''; ;) {
    const { body } = await readCaughtUp(client, `${path}?limit=1000${cursor}`, {});
    const page = body as { items: readonly Item[]; next?: string };
    items.push(...page.items);
    if (page.next === undefined) return items;
    cursor = `&cursor=${encodeURIComponent(page.next)}`;
  }
}
