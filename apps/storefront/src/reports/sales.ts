/**
 * What was ordered, by day and product, and by day: states that follow the stream of orders. They
 * may be a moment behind it, unlike the list of orders, and cost a checkout nothing.
 */
import { On, Projection, type FeedEvent, type ProjectionContext } from '@kvent/event-store';
import { defineState, InjectStore, KeyValueStore, type StateOf } from '@kvent/key-value-storage';
import { z } from 'zod';
import { Day } from '../day.js';
import { Orders } from '../orders/order.js';

const count = z.int().nonnegative();

const numbers = { orders: count, quantity: count, cents: count };
const Sales = z.object({ day: Day, ...numbers });
export const ProductSalesSchema = z.object({ day: Day, sku: z.string(), ...numbers });

/** By day. */
export const DaySales = defineState('day-sales', { schema: Sales });
export type DaySales = StateOf<typeof DaySales>;

/** By day and sku. */
export const ProductSales = defineState('product-sales', { schema: ProductSalesSchema });
export type ProductSales = StateOf<typeof ProductSales>;

export const noSales = (day: string): DaySales => ({ day, orders: 0, quantity: 0, cents: 0 });

/** Each order counts once, whatever fails, on the day on which it was placed. */
@Projection('sales-by-day', { streams: [Orders], partitions: 2 })
export class SalesByDay {
  constructor(
    @InjectStore(DaySales) private readonly days: KeyValueStore<DaySales>,
    @InjectStore(ProductSales) private readonly products: KeyValueStore<ProductSales>,
  ) {}

  @On(Orders, 'placed')
  placed({ data }: FeedEvent<typeof Orders, 'placed'>, { change }: ProjectionContext): void {
    const day = data.placedAt.slice(0, 10);
    const all = data.items.reduce((total, { quantity }) => total + quantity, 0);
    change(this.days, day, (sales) => add(sales, all, data.totalCents), { initial: noSales(day) });
    for (const { sku, quantity, priceCents } of data.items)
      change(this.products, [day, sku], (sales) => add(sales, quantity, quantity * priceCents), {
        initial: { ...noSales(day), sku },
      });
  }
}

const add = <S extends DaySales>(sales: S, quantity: number, cents: number): S => ({
  ...sales,
  orders: sales.orders + 1,
  quantity: sum(sales.quantity, quantity),
  cents: sum(sales.cents, cents),
});

/** At most the largest safe integer: a sum that the schema refuses would stop the whole report. */
const sum = (a: number, b: number): number => Math.min(a + b, Number.MAX_SAFE_INTEGER);
