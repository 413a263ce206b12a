import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { InjectStore, isStorageError, KeyValueStorage, KeyValueStore, retryOnConflict, type Entry } from '@kvent/key-value-storage';
import { CatalogueService } from '../catalogue/catalogue.service.js';
import { ShopError } from '../problems/shop-error.js';
import { Reservations, Stocks } from './stock-states.js';
import { assertSame, commit, emptyStock, receive, release, reserve, settle, type Reservation, type Stock } from './stock.js';

/** Where many want the last ones, each may lose often before its turn comes; what does not come to an end is a 409 with Retry-After. */
const rivals = { attempts: 100, delayMsMax: 50, budgetMs: 15_000 };

export interface Reserved {
  readonly id: string;
  readonly reservation: Reservation;
  readonly stock: Stock;
  /** This id was there already: nothing has changed. */
  readonly replayed: boolean;
}

/** The stock and the reservation change in one commit: never one without the other. */
@Injectable()
export class StockService {
  constructor(
    @InjectStore(Stocks) private readonly stocks: KeyValueStore<Stock>,
    @InjectStore(Reservations) private readonly reservations: KeyValueStore<Reservation>,
    private readonly storage: KeyValueStorage,
    private readonly catalogue: CatalogueService,
  ) {}

  async get(sku: string): Promise<Stock> {
    return (await this.stocks.getOrThrow(sku)).value;
  }

  async receive(sku: string, quantity: number): Promise<Stock> {
    await this.catalogue.assertSold(sku);
    return (await this.stocks.update(sku, (stock) => receive(stock, quantity), { initial: () => emptyStock })).value;
  }

  async reserve(sku: string, quantity: number, id: string = randomUUID()): Promise<Reserved> {
    return await retryOnConflict(async () => {
      // Stock first: read the other way round, a repeat could miss its twin and still find the stock that the twin has left too small.
      const stock = await this.stocks.get(sku);
      const earlier = await this.reservations.get([sku, id]);
      if (earlier !== undefined) return this.#repeated(sku, id, earlier.value, quantity);
      // Only now: what was promised stays promised, also when the product has been removed since.
      await this.catalogue.assertSold(sku);
      const after = reserve(stock?.value ?? emptyStock, sku, quantity);
      const reservation: Reservation = { quantity, status: 'reserved' };
      const batch = this.storage.atomic().add(this.reservations, [sku, id], reservation);
      await (stock === undefined ? batch.add(this.stocks, sku, after) : batch.save(this.stocks, stock.with(after))).commit();
      return { id, reservation, stock: after, replayed: false };
    }, rivals);
  }

  async reservation(sku: string, id: string): Promise<Reserved> {
    const reservation = (await this.#reservation(sku, id)).value;
    return { id, reservation, stock: await this.get(sku), replayed: true };
  }

  commit(sku: string, id: string): Promise<Reserved> {
    return this.#settle(sku, id, 'committed', commit);
  }

  release(sku: string, id: string): Promise<Reserved> {
    return this.#settle(sku, id, 'released', release);
  }

  async #repeated(sku: string, id: string, reservation: Reservation, quantity: number): Promise<Reserved> {
    assertSame(reservation, id, quantity);
    return { id, reservation, stock: await this.get(sku), replayed: true };
  }

  #settle(sku: string, id: string, as: 'committed' | 'released', move: typeof commit): Promise<Reserved> {
    return retryOnConflict(async () => {
      // Stock first, here too: read the other way round, a repeat could meet the stock that its twin has settled already, and hold it for too little.
      const before = await this.stocks.get(sku);
      const entry = await this.#reservation(sku, id);
      const reservation = settle(entry.value, id, as);
      if (reservation === entry.value) return { id, reservation, stock: await this.get(sku), replayed: true };
      const stock = before ?? (await this.stocks.getOrThrow(sku));
      const after = move(stock.value, sku, reservation.quantity);
      const batch = this.storage.atomic().save(this.reservations, entry.with(reservation));
      await batch.save(this.stocks, stock.with(after)).commit();
      return { id, reservation, stock: after, replayed: false };
    }, rivals);
  }

  async #reservation(sku: string, id: string): Promise<Entry<Reservation>> {
    try {
      return await this.reservations.getOrThrow([sku, id]);
    } catch (error) {
      if (!isStorageError(error, 'KEY_NOT_FOUND')) throw error;
      const message = `There is no reservation ${id} of ${sku}.`;
      throw new ShopError('RESERVATION_NOT_FOUND', 404, 'There is no such reservation', message, { sku, reservation: id });
    }
  }
}
