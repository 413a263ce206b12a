import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ShopError } from '../problems/shop-error.js';
import { assertSame, availableOf, commit, emptyStock, receive, release, reserve, settle, type Reservation, type Stock } from './stock.js';

const stock = (onHand: number, reserved: number): Stock => ({ onHand, reserved, version: 7 });

function refused(work: () => unknown): Pick<ShopError, 'code' | 'status' | 'details'> {
  try {
    work();
  } catch (error) {
    if (error instanceof ShopError) return { code: error.code, status: error.status, details: error.details };
    throw error;
  }
  throw new Error('It was not refused.');
}

describe('stock', () => {
  it('grows by what arrives', () => {
    expect(receive(emptyStock, 10)).toEqual({ onHand: 10, reserved: 0, version: 1 });
  });

  it('promises what is there, to the last one', () => {
    expect(reserve(stock(10, 4), 'mug', 6)).toEqual({ onHand: 10, reserved: 10, version: 8 });
  });

  it('does not promise what is not there, and says how much is', () => {
    expect(refused(() => reserve(stock(10, 4), 'mug', 7))).toEqual({
      code: 'INSUFFICIENT_STOCK',
      status: 409,
      details: { sku: 'mug', needed: 7, available: 6 },
    });
    expect(refused(() => reserve(emptyStock, 'mug', 1)).details).toEqual({ sku: 'mug', needed: 1, available: 0 });
  });

  it('loses what is committed, and the promise with it', () => {
    expect(commit(stock(10, 4), 'mug', 4)).toEqual({ onHand: 6, reserved: 0, version: 8 });
  });

  it('does not commit more than was reserved', () => {
    expect(refused(() => commit(stock(10, 4), 'mug', 5))).toMatchObject({ code: 'RESERVATION_EXCEEDED', status: 409 });
  });

  it('keeps what is released', () => {
    expect(release(stock(10, 4), 'mug', 4)).toEqual({ onHand: 10, reserved: 0, version: 8 });
  });

  it('never releases below zero', () => {
    expect(refused(() => release(stock(10, 4), 'mug', 5))).toMatchObject({ code: 'RESERVATION_EXCEEDED', status: 409 });
  });

  it('is never oversold and never below zero, whatever happens to it', () => {
    const movements = fc.array(
      fc.record({ kind: fc.constantFrom('receive', 'reserve', 'commit', 'release'), quantity: fc.integer({ min: 1, max: 20 }) }),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(movements, (given) => {
        let now = emptyStock;
        for (const { kind, quantity } of given) {
          now = orAsBefore(now, () => moves[kind](now, quantity));
          expect(now.reserved).toBeGreaterThanOrEqual(0);
          expect(availableOf(now)).toBeGreaterThanOrEqual(0);
        }
      }),
    );
  });
});

describe('a reservation', () => {
  const reserved: Reservation = { quantity: 2, status: 'reserved' };

  it('is committed or released once; the same again changes nothing', () => {
    const committed = settle(reserved, 'r1', 'committed');
    expect(committed).toEqual({ quantity: 2, status: 'committed' });
    expect(settle(committed, 'r1', 'committed')).toBe(committed);
    const released = settle(reserved, 'r1', 'released');
    expect(settle(released, 'r1', 'released')).toBe(released);
  });

  it('is not released after it was committed, nor committed after it was released', () => {
    expect(refused(() => settle({ quantity: 2, status: 'committed' }, 'r1', 'released'))).toMatchObject({
      code: 'RESERVATION_SETTLED',
      status: 409,
      details: { reservation: 'r1', status: 'committed' },
    });
    expect(refused(() => settle({ quantity: 2, status: 'released' }, 'r1', 'committed'))).toMatchObject({ code: 'RESERVATION_SETTLED' });
  });

  it('is the same one only for the same quantity', () => {
    assertSame(reserved, 'r1', 2);
    expect(refused(() => assertSame(reserved, 'r1', 3))).toMatchObject({ code: 'RESERVATION_EXISTS', status: 409 });
  });
});

const moves = {
  receive,
  reserve: (now: Stock, quantity: number) => reserve(now, 'mug', quantity),
  commit: (now: Stock, quantity: number) => commit(now, 'mug', quantity),
  release: (now: Stock, quantity: number) => release(now, 'mug', quantity),
};

function orAsBefore(before: Stock, move: () => Stock): Stock {
  try {
    return move();
  } catch (error) {
    if (error instanceof ShopError) return before;
    throw error;
  }
}
