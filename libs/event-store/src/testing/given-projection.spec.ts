import { AssertionError } from 'node:assert';
import { expect, it } from '@jest/globals';
import { defineProjection, projectionFrom } from '@kvent/event-store/core';
import { defineState } from '@kvent/key-value-storage/core';
import {
  DaySales,
  OrderCounts,
  Orders,
  placed,
  SalesAndCounts,
  SalesByDay,
} from '../core/projections/spec-support.js';
import { appended } from './given-projection.js';
import { given } from './given.js';

const monday = [
  appended(Orders, 'o-1', placed('monday', 5)),
  appended(Orders, 'o-2', [...placed('tuesday', 1), ...placed('monday', 2)]),
];

it('given … then of a projection compares all entries of a state', async () => {
  const sold = given(SalesByDay, monday);
  const states = [
    ['monday', { orders: 2, cents: 7 }],
    ['tuesday', { orders: 1, cents: 1 }],
  ] as const;
  await sold.then(DaySales, states);
  await expect(sold.then(DaySales, states.slice(1))).rejects.toThrow(AssertionError);
  await given(SalesByDay, []).then(DaySales, []);
  await given(SalesByDay, [appended(Orders, 'o-1', placed('monday', -1))]).thenThrows('cents are negative');
  await expect(sold.thenThrows('cents are negative')).rejects.toThrow(AssertionError);
});

it('given … then of a class gets its stores, and compares each of its states', async () => {
  const noted = appended(Orders, 'o-1', [{ type: 'noted', data: { text: '' } }]);
  const sold = given((storage) => projectionFrom(new SalesAndCounts(storage)), [...monday, noted]);
  await sold.then(OrderCounts, [['o-2', { orders: 2 }]]);
  await expect(sold.then(OrderCounts, [])).rejects.toThrow(AssertionError);
  expect(() => given(SalesAndCounts as never, [] as never)).toThrow(
    'is a class; give the projection of an instance',
  );
});

it('given … then of a projection has tenants, times and metadata', async () => {
  const Last = defineState<{ at: Date; by: unknown }>('last');
  const LastOrder = defineProjection('last-order', {
    streams: [Orders],
    into: Last,
    key: ({ stream }) => stream,
    initial: () => ({ at: new Date(0), by: '' }),
    evolve: (_last, { recordedAt, metadata }) => ({ at: recordedAt, by: metadata.userId }),
  });
  const at = new Date('2026-05-04T12:00:00Z');
  const sold = given(LastOrder, [
    appended(Orders, 'o-1', placed('monday', 5), {
      tenant: 'acme',
      recordedAt: at,
      metadata: { userId: 'ann' },
    }),
  ]);
  await sold.then(Last, [['o-1', { at, by: 'ann' }]], { tenant: 'acme' });
  await sold.then(Last, []);
  expect(() => appended(Orders, 'o-1', [], { at } as never)).toThrow("'at'");
});
