import { describe, expect, it } from '@jest/globals';
import { streamDefinitionOf } from '@kvent/event-store';
import { given } from '@kvent/event-store/testing';
import fc from 'fast-check';
import { ShopError } from '../problems/shop-error.js';
import { pastMovements } from './history.js';
import { adjust, availableOf, reserve, Stocks, type Movement, type Stock } from './stock.js';

const received = (quantity: number): Movement => ({ type: 'received', data: { quantity } });
const moved = (type: 'reserved' | 'released' | 'committed', quantity: number, order = 'o1'): Movement => ({
  type,
  data: { quantity, order },
});
const want = (quantity: number) => ({ sku: 'mug', quantity, order: 'o1' });
const nothing = (): Movement[] => [];

describe('stock', () => {
  it('grows by what arrives', () => {
    given(Stocks, [received(10)])
      .when(nothing)
      .thenState({ onHand: 10, reserved: 0 });
  });

  it('promises what is there, to the last one', () => {
    given(Stocks, [received(10), moved('reserved', 4)])
      .when((stock: Stock) => [reserve(stock, want(6))])
      .then([moved('reserved', 6)]);
    given(Stocks, [received(10), moved('reserved', 4)])
      .when((stock: Stock) => [reserve(stock, want(6))])
      .thenState({ onHand: 10, reserved: 10 });
  });

  it('does not promise what is not there, and says how much is', () => {
    const refused = (stock: Stock, quantity: number): unknown => {
      try {
        return reserve(stock, want(quantity));
      } catch (error) {
        return error;
      }
    };
    expect(refused({ onHand: 10, reserved: 4 }, 7)).toMatchObject({
      code: 'INSUFFICIENT_STOCK',
      status: 409,
      details: { sku: 'mug', needed: 7, available: 6 },
    });
    expect(refused({ onHand: 0, reserved: 0 }, 1)).toMatchObject({
      details: { sku: 'mug', needed: 1, available: 0 },
    });
  });

  it('loses what is committed, and the promise with it; keeps what is released', () => {
    const reserved = [received(10), moved('reserved', 4)];
    given(Stocks, [...reserved, moved('committed', 4)])
      .when(nothing)
      .thenState({ onHand: 6, reserved: 0 });
    given(Stocks, [...reserved, moved('released', 4)])
      .when(nothing)
      .thenState({ onHand: 10, reserved: 0 });
  });

  it('is what was counted, unless more is promised', () => {
    const stocked = given(Stocks, [received(10), moved('reserved', 4)]);
    stocked.when((stock: Stock) => adjust(stock, 10, 'counted')).then([]);
    stocked
      .when((stock: Stock) => adjust(stock, 7, 'counted'))
      .then([{ type: 'adjusted', data: { by: -3, reason: 'counted' } }]);
    stocked.when((stock: Stock) => adjust(stock, 12, 'counted')).thenState({ onHand: 12, reserved: 4 });
    stocked.when((stock: Stock) => adjust(stock, 3, 'counted')).thenThrows(ShopError);
  });

  it('is never oversold, whatever happens to it', () => {
    const wishes = fc.array(fc.record({ arrive: fc.boolean(), quantity: fc.integer({ min: 1, max: 20 }) }), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(wishes, (wished) => {
        let now: Stock = { onHand: 0, reserved: 0 };
        for (const { arrive, quantity } of wished) {
          if (!arrive && quantity > availableOf(now))
            expect(() => reserve(now, want(quantity))).toThrow(ShopError);
          else now = evolve(now, arrive ? received(quantity) : reserve(now, want(quantity)));
          expect(availableOf(now)).toBeGreaterThanOrEqual(0);
        }
      }),
    );
  });
});

describe('the past of a stock', () => {
  it('is 250 movements that could have been, and end with what there is now', () => {
    const past = pastMovements('mug', 10);
    expect(past).toHaveLength(250);
    let now: Stock = { onHand: 0, reserved: 0 };
    for (const movement of past) {
      now = evolve(now, movement);
      expect(now.reserved).toBeGreaterThanOrEqual(0);
      expect(availableOf(now)).toBeGreaterThanOrEqual(0);
    }
    expect(now).toEqual({ onHand: 10, reserved: 0 });
    expect(new Set(past.map(({ type }) => type)).size).toBe(5);
  });
});

const evolve = (stock: Stock, movement: Movement): Stock =>
  streamDefinitionOf(Stocks).evolve(stock, movement) as Stock;
