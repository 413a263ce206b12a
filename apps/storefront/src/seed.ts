/** Two demo shops with the same products at different prices. Existing data are kept. */
import { setTimeout } from 'node:timers/promises';
import type { EventStore, EventStream } from '@kvent/event-store';
import { defineState, type KeyValueStorage } from '@kvent/key-value-storage';
import type { ProductV1 } from './catalogue/product.js';
import { pastMovements } from './stock/history.js';
import { Stocks, type Movement } from './stock/stock.js';
import { Tenants } from './tenants/tenant.js';

/** Products in version 1 of their schema. The shop reads them as version 2. */
const ProductsV1 = defineState<ProductV1>('product');

interface Shop {
  readonly id: string;
  readonly name: string;
  /** Sku, name, price, quantity. */
  readonly goods: readonly (readonly [string, string, number, number])[];
  /** The sku whose stock has a history. */
  readonly history?: string;
}

const movementsAtOnce = 20;

export const demoShops: readonly Shop[] = [
  {
    id: 'acme',
    name: 'Acme',
    history: 'mug',
    goods: [
      ['mug', 'Mug', 8.5, 10],
      ['pen', 'Pen', 1.1, 500],
      ['poster', 'Poster', 12, 40],
      ['shirt', 'Shirt', 19.9, 75],
      ['sticker', 'Sticker', 0.5, 1_000],
    ],
  },
  {
    id: 'globex',
    name: 'Globex',
    goods: [
      ['mug', 'Mug', 11.25, 25],
      ['pen', 'Pen', 0.95, 300],
      ['umbrella', 'Umbrella', 24, 15],
    ],
  },
];

/** Writes the tenant last: once it exists, its shop is complete and is not filled again. */
export async function seed(storage: KeyValueStorage, events: EventStore): Promise<void> {
  for (const { id, name, goods, history } of demoShops) {
    if (await storage.store(Tenants).has(id)) continue;
    const products = storage.store(ProductsV1).forTenant(id);
    const stocks = events.stream(Stocks).forTenant(id);
    await Promise.all(
      goods.map(([sku, title, price]) => products.getOrAdd(sku, () => ({ sku, name: title, price }))),
    );
    for (const [sku, , , quantity] of goods)
      await fill(
        stocks,
        sku,
        sku === history ? pastMovements(sku, quantity) : [{ type: 'received', data: { quantity } }],
      );
    await storage.store(Tenants).getOrAdd(id, () => ({ id, name }));
  }
}

/**
 * Continues after the events of an earlier or concurrent start. Waits between appends, so that the
 * history has several points in time.
 */
async function fill(
  stocks: EventStream<typeof Stocks>,
  sku: string,
  movements: readonly Movement[],
): Promise<void> {
  for (let from = 0; from < movements.length; from += movementsAtOnce) {
    const next = movements.slice(from, from + movementsAtOnce);
    if (from > 0) await setTimeout(3);
    await stocks.transact(sku, (_, { version }) => (version === from ? next : []));
  }
}
