/**
 * The bank: a stand-in for an external service. Its data outlive the process of the shop, and a
 * call may fail before or after the charge. Charging is idempotent per order.
 */
import { setTimeout } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import { defineState, InjectStore, KeyValueStore, type StateOf } from '@kvent/key-value-storage';
import { z } from 'zod';
import { ShopError } from '../problems/shop-error.js';
import type { Order } from './order.js';

export const Card = z.enum(['ok', 'slow', 'declined']);
export type Card = z.infer<typeof Card>;

/** The record of each order, by its id. */
export const BankBooks = defineState('bank-book', {
  schema: z.object({ cents: z.int(), status: z.enum(['charged', 'refunded']) }),
});
type BankBook = StateOf<typeof BankBooks>;

/** Transports a call to the bank. Rejects if the request or the response is lost. */
export type BankTransport = <R>(call: () => Promise<R>, card: Card, signal?: AbortSignal) => Promise<R>;
export const bankTransportToken = Symbol('storefront.bank-line');

/** Milliseconds that a call with a slow card takes by default. */
export const slowCardMs = 3_000;

/** Loses nothing. */
export function reliableTransport(slowMs = slowCardMs): BankTransport {
  return async (call, card, signal) => {
    await delay(card, slowMs, signal);
    return await call();
  };
}

/** Of three calls, one loses its request and one its response. */
export function unreliableTransport(slowMs = slowCardMs): BankTransport {
  let calls = 0;
  return async (call, card, signal) => {
    const turn = (calls += 1) % 3;
    await delay(card, slowMs, signal);
    if (turn === 0) throw new Error('The bank does not respond.');
    const answer = await call();
    if (turn === 1) throw new Error('The bank closed the connection.');
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
    @Inject(bankTransportToken) private readonly transport: BankTransport,
  ) {}

  /**
   * Returns the reference of the charge, the same one for a repeat; `undefined` for a declined card
   * and for a refunded order.
   */
  async charge({ id, totalCents }: Order, card: Card, signal: AbortSignal): Promise<string | undefined> {
    return await this.#call(id, card, signal, async () => {
      if (card === 'declined') return undefined;
      const { entry } = await this.books.getOrAdd(id, () => ({ cents: totalCents, status: 'charged' }));
      return entry.value.status === 'charged' ? `bank-${id}` : undefined;
    });
  }

  /** Refunds the charge, if there is one. A charge in flight then finds the order refunded. */
  async refund({ id }: Order): Promise<void> {
    await this.#call(id, 'ok', undefined, () =>
      this.books.update(id, (book) => ({ ...book, status: 'refunded' }), {
        initial: () => ({ cents: 0, status: 'refunded' }),
      }),
    );
  }

  /** `BANK_UNAVAILABLE`: the outcome is unknown, and a repeat is safe. */
  async #call<R>(
    order: string,
    card: Card,
    signal: AbortSignal | undefined,
    work: () => Promise<R>,
  ): Promise<R> {
    try {
      return await this.transport(work, card, signal);
    } catch {
      const detail =
        'The outcome of the call is unknown. Send the same request again: an order is charged once.';
      throw new ShopError('BANK_UNAVAILABLE', 502, 'Bank unavailable', detail, { order });
    }
  }
}
