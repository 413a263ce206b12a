import 'reflect-metadata';
import { expect, it } from '@jest/globals';
import { DaySales, noSales, ProductSales, ProductSalesSchema, SalesByDay } from './sales.js';

const day = '2026-12-01';

/** The sales after these orders of one product, each once. */
function salesOf(...prices: readonly number[]) {
  const states = new Map<unknown, object>();
  const projection = new SalesByDay(DaySales as never, ProductSales as never);
  const change = (
    store: unknown,
    _key: unknown,
    next: (sales: object) => object,
    { initial }: { readonly initial: object },
  ) => states.set(store, next(states.get(store) ?? initial));
  for (const priceCents of prices) {
    const items = [{ sku: 'yacht', quantity: 1, priceCents }];
    const data = { items, totalCents: priceCents, placedAt: `${day}T10:00:00.000Z` };
    projection.placed({ data } as never, { change } as never);
  }
  return { ofDay: states.get(DaySales), ofProduct: states.get(ProductSales) };
}

it('sales are counted by day and by product', () => {
  const sales = { ...noSales(day), orders: 2, quantity: 2, cents: 900 };
  expect(salesOf(400, 500)).toEqual({ ofDay: sales, ofProduct: { ...sales, sku: 'yacht' } });
});

it('sales of a day stay numbers that can be stored, whatever its orders cost', () => {
  const { ofDay, ofProduct } = salesOf(Number.MAX_SAFE_INTEGER, 100_000_000, 1);
  const sales = { ...noSales(day), orders: 3, quantity: 3, cents: Number.MAX_SAFE_INTEGER };
  expect(ofDay).toEqual(sales);
  expect(ProductSalesSchema.parse(ofProduct)).toEqual({ ...sales, sku: 'yacht' });
});
