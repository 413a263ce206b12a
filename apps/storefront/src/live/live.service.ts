import { Injectable } from '@nestjs/common';
import { InjectStream, type EventStream } from '@kvent/event-store';
import { httpEtagOf, InjectStore, KeyValueStore, toObservable } from '@kvent/key-value-storage';
import { distinctUntilChanged, filter, merge, switchMap, type Observable } from 'rxjs';
import { CatalogueService } from '../catalogue/catalogue.service.js';
import { Product } from '../catalogue/product.js';
import { LastMovements, type LastMovement } from '../stock/last-movement.js';
import { availableOf, Stocks } from '../stock/stock.js';

interface LiveProduct {
  /** Of the product and its stock together; no other product or tenant has an equal one. */
  readonly etag: string;
  readonly priceCents: number;
  readonly available: number;
}

@Injectable()
export class LiveService {
  constructor(
    @InjectStore(Product) private readonly products: KeyValueStore<Product>,
    @InjectStore(LastMovements) private readonly movements: KeyValueStore<LastMovement>,
    @InjectStream(Stocks) private readonly stocks: EventStream<typeof Stocks>,
    private readonly catalogue: CatalogueService,
  ) {}

  /** The product now and after each change; `KEY_NOT_FOUND`. Silent while it is deleted. */
  async follow(sku: string): Promise<Observable<LiveProduct>> {
    await this.catalogue.get(sku);
    return merge(toObservable(this.products.watch(sku)), toObservable(this.movements.watch(sku))).pipe(
      switchMap(async () => await this.#read(sku)),
      filter((product) => product !== undefined),
      distinctUntilChanged((before, after) => before.etag === after.etag),
    );
  }

  async #read(sku: string): Promise<LiveProduct | undefined> {
    const [product, stock] = await Promise.all([this.products.get(sku), this.stocks.load(sku)]);
    if (product === undefined) return undefined;
    const { priceCents } = product.value;
    const etag = `${httpEtagOf(product)}.${httpEtagOf(stock)}`;
    return { etag, priceCents, available: availableOf(stock.state) };
  }
}
