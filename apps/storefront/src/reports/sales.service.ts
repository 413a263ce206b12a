import { Injectable } from '@nestjs/common';
import { InjectProjection, ProjectionRunner, type ProjectedStore } from '@kvent/event-store';
import { httpEtagOf, toObservable, type Entry, type Page, type PageRequest } from '@kvent/key-value-storage';
import { map, type Observable } from 'rxjs';
import { dayOf } from '../day.js';
import { DaySales, noSales, ProductSales, SalesByDay } from './sales.js';

const dayMs = 24 * 60 * 60 * 1_000;

@Injectable()
export class SalesService {
  // of the live build, also after the projection was built again
  readonly #days: ProjectedStore<DaySales>;
  readonly #products: ProjectedStore<ProductSales>;

  constructor(@InjectProjection(SalesByDay) projection: ProjectionRunner) {
    this.#days = projection.store(DaySales);
    this.#products = projection.store(ProductSales);
  }

  /** From day to day, both inclusive. */
  page(
    from: string | undefined,
    to: string | undefined,
    request: Pick<PageRequest, 'limit' | 'cursor' | 'reverse'>,
  ): Promise<Page<Entry<ProductSales>>> {
    return this.#products.page({
      ...request,
      ...(from !== undefined && { start: [from] }),
      ...(to !== undefined && { end: [dayOf(Date.parse(to) + dayMs)] }),
    });
  }

  /**
   * The numbers of a day now, and after each change. Numbers of another day or tenant have another
   * id; a day without numbers has one for all tenants.
   */
  follow(day = dayOf(Date.now())): Observable<{ readonly id: string; readonly sales: DaySales }> {
    return toObservable(this.#days.watch(day)).pipe(
      map((entry) =>
        entry === undefined
          ? { id: `none-${day}`, sales: noSales(day) }
          : { id: httpEtagOf(entry), sales: entry.value },
      ),
    );
  }
}
