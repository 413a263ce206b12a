import { describe, expect, it } from '@jest/globals';
import { given } from '@kvent/event-store/testing';
import { ShopError } from '../problems/shop-error.js';
import {
  assertPayable,
  cancel,
  movementWith,
  noOrder,
  Orders,
  place,
  ship,
  type Order,
  type OrderEvent,
} from './order.js';
import { summaryKey, summaryOf } from './order-summary.js';

const at = new Date('2026-11-21T10:00:00.000Z');
const items = [
  { sku: 'mug', quantity: 2, priceCents: 850 },
  { sku: 'pen', quantity: 3, priceCents: 110 },
];
const placed = place({ id: 'o1', cart: 'c1', items }, at);
const paid: OrderEvent = { type: 'paid', data: { reference: 'r' } };
const [declined, cancelled, shipped] = (['declined', 'cancelled', 'shipped'] as const).map(
  (type): OrderEvent => ({ type }),
) as [OrderEvent, OrderEvent, OrderEvent];
const order: Order = {
  id: 'o1',
  status: 'placed',
  cart: 'c1',
  items,
  totalCents: 2_030,
  placedAt: '2026-11-21T10:00:00.000Z',
};
const pay = (now: Order): OrderEvent[] => {
  assertPayable(now);
  return [paid];
};

describe('an order', () => {
  it('is what was in the cart, at the prices of the moment', () => {
    given(Orders, [])
      .when(() => [placed])
      .thenState(order);
    expect([summaryKey(order), summaryOf(order)]).toEqual([
      ['placed', order.placedAt, 'o1'],
      { id: 'o1', status: 'placed', totalCents: 2_030, placedAt: order.placedAt },
    ]);
  });

  it('is paid once, and only as long as its goods are reserved', () => {
    given(Orders, [placed])
      .when(pay)
      .thenState({ ...order, status: 'paid', reference: 'r' });
    for (const over of [[paid], [declined], [cancelled], [paid, shipped]])
      given(Orders, [placed, ...over])
        .when(pay)
        .thenThrows(ShopError);
  });

  it('is shipped once it is paid; twice is once', () => {
    given(Orders, [placed, paid]).when(ship).then([shipped]);
    given(Orders, [placed, paid, shipped]).when(ship).then([]);
    for (const not of [[], [declined], [cancelled], [paid, cancelled]])
      given(Orders, [placed, ...not])
        .when(ship)
        .thenThrows(ShopError);
  });

  it('is cancelled until it is shipped; twice is once', () => {
    for (const before of [[placed], [placed, paid]]) given(Orders, before).when(cancel).then([cancelled]);
    for (const over of [[cancelled], [declined]])
      given(Orders, [placed, ...over])
        .when(cancel)
        .then([]);
    given(Orders, [placed, paid, shipped]).when(cancel).thenThrows(ShopError);
  });

  it('takes its goods along when it is shipped, and lets go of them when nothing comes of it', () => {
    const statuses = ['placed', 'paid', 'declined', 'cancelled', 'shipped'] as const;
    expect(statuses.map((status) => movementWith({ ...noOrder, status }))).toEqual([
      undefined,
      undefined,
      'released',
      'released',
      'committed',
    ]);
  });
});
