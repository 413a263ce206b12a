/**
 * Where cards are charged. A stand-in for another company: it keeps books of its own, which outlive
 * the shop's process, and it may fail, before a charge or after. What makes that bearable is that
 * it charges an order once, however often it is asked.
 */
import { setTimeout } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import { defineState, InjectStore, KeyValueStore, type StateOf } from '@kvent/key-value-storage';
import { z } from 'zod';
import { ShopError } from '../problems/shop-error.js';
import type { Order } from './order.js';

export const Card = z.enum(['ok', 'slow', 'declined']);
export type Card = z.infer<typeof Card>;

/** What the bank has of each order, by its id. */
export const BankBooks = defineState('bank-book', {
  schema: z.object({ cents: z.int(), status: z.enum(['charged', 'refunded']) }),
});
type BankBook = StateOf<typeof BankBooks>;

/** How a call gets to the bank and back. Rejects with anything when it does not. */
export type BankLine = <R>(call: () => Promise<R>, card: Card, signal?: AbortSignal) => Promise<R>;
export const bankLineToken = Symbol('storefront.bank-line');

/** How long a call with a slow card takes, in milliseconds, unless another time is given. */
export const slowCardMs = 3_000;

/** Every call gets there, and its answer back. */
export function reliableLine(slowMs = slowCardMs): BankLine {
  return async (call, card, signal) => {
    await delay(card, slowMs, signal);
    return await call();
  };
}

/**
 * Of three calls, one does not get there, and of another one the answer is lost. A slow card is
 * slow in each case.
 */
export function unreliableLine(slowMs = slowCardMs): BankLine {
  let calls = 0;
  return async (call, card, signal) => {
    const fate = (calls += 1) % 3;
    await delay(card, slowMs, signal);
    if (fate === 0) throw new Error('The bank does not answer.');
    const answer = await call();
    if (fate === 1) throw new Error('The bank has hung up.');
    return answer;
  };
}

async function delay(card: Card, slowMs: number, signal: AbortSignal | undefined): Promise<void> {
  if (card === 'slow') await setTimeout(slowMs, undefined, signal && { signal });
}

@Injectable()
export class Bank {
  constructor(
    @InjectStore(BankBooks) private readonly books: KeyValueStore<BankBook>,
    @Inject(bankLineToken) private readonly line: BankLine,
  ) {}

  /**
   * The reference of the charge, the same one for a repeat; `undefined` for a card that is
   * declined, and for an order that was refunded.
   */
  async charge({ id, totalCents }: Order, card: Card, signal: AbortSignal): Promise<string | undefined> {
    return await this.#call(id, card, signal, async () => {
      if (card === 'declined') return undefined;
      const { entry } = await this.books.getOrAdd(id, () => ({ cents: totalCents, status: 'charged' }));
      return entry.value.status === 'charged' ? `bank-${id}` : undefined;
    });
  }

  /**
   * Gives back what was charged, if anything was; from now on the order cannot be charged, whoever
   * is still on the way.
   */
  async refund({ id }: Order): Promise<void> {
    await this.#call(id, 'ok', undefined, () =>
      this.books.update(id, (book) => ({ ...book, status: 'refunded' }), {
        initial: () => ({ cents: 0, status: 'refunded' }),
      }),
    );
  }

  /** `BANK_UNAVAILABLE`: perhaps it was done, perhaps not; to ask again is safe. */
  async #call<R>(
    order: string,
    card: Card,
    signal: AbortSignal | undefined,
    work: () => Promise<R>,
  ): Promise<R> {
    try {
      return await this.line(work, card, signal);
    } catch {
      const detail =
        'It is not known what the bank has done. Send the same request again: an order is charged once.';
      throw new ShopError('BANK_UNAVAILABLE', 502, 'Bank unavailable', detail, { order });
    }
  }
}
