/** 250 past movements: 25 rounds of a receipt, orders, shipments and a stock-take. */
import { adjust, reserve, type Movement, type Stock } from './stock.js';

const rounds = 25;

/** They end with so many on hand, and none reserved. */
export function pastMovements(sku: string, onHand: number): readonly Movement[] {
  const left = Array.from({ length: rounds }, (_, round) => onHand + leftAfter(round));
  return left.flatMap((now, round) => movementsOf(sku, round, now - (left[round - 1] ?? 0)));
}

/**
 * Beyond what is left in the end: sometimes more, sometimes less, and nothing after the last round.
 */
const leftAfter = (round: number): number => ((rounds - 1 - round) % 7) * 3;

/** Ten movements that leave so many more than there were. */
function movementsOf(sku: string, round: number, more: number): readonly Movement[] {
  const taken = [3, 4, 5];
  const received = more + taken.reduce((sum, quantity) => sum + quantity, 0) + 1;
  const plenty: Stock = { onHand: received, reserved: 0 };
  const order = (index: number) => `past-${round}-${index}`;
  return [
    { type: 'received', data: { quantity: received } },
    reserve(plenty, { sku, quantity: 2, order: order(3) }),
    ...taken.flatMap((quantity, index): Movement[] => [
      reserve(plenty, { sku, quantity, order: order(index) }),
      { type: 'committed', data: { quantity, order: order(index) } },
    ]),
    { type: 'released', data: { quantity: 2, order: order(3) } },
    ...adjust(plenty, received - 1, 'counted'),
  ];
}
