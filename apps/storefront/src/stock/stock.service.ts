import { Injectable } from '@nestjs/common';
import {
  InjectStream,
  type DecisionContext,
  type EventStream,
  type Loaded,
  type PointInTime,
} from '@kvent/event-store';
import { InjectStore, KeyValueStore, type IdempotentCall } from '@kvent/key-value-storage';
import { CatalogueService } from '../catalogue/catalogue.service.js';
import { LastMovements, type LastMovement } from './last-movement.js';
import { Stocks, type Movement, type Stock } from './stock.js';

@Injectable()
export class StockService {
  constructor(
    @InjectStream(Stocks) readonly stocks: EventStream<typeof Stocks>,
    @InjectStore(LastMovements) private readonly lastMovements: KeyValueStore<LastMovement>,
    private readonly catalogue: CatalogueService,
  ) {}

  get(sku: string, point: PointInTime): Promise<Loaded<Stock>> {
    return this.stocks.loadOrThrow(sku, point);
  }

  async receive(
    sku: string,
    quantity: number,
    idempotencyKey: IdempotentCall | undefined,
  ): Promise<Loaded<Stock>> {
    await this.catalogue.assertSold(sku);
    const decide = (_: Stock, { batch }: DecisionContext): [Movement] => {
      batch.set(this.lastMovements, sku, { type: 'received' });
      return [{ type: 'received', data: { quantity } }];
    };
    return await this.stocks.transact(sku, decide, { idempotencyKey });
  }

  async snapshots(sku: string): Promise<readonly number[]> {
    const versions = await this.stocks.snapshotVersions(sku);
    if (versions.length === 0) await this.stocks.loadOrThrow(sku);
    return versions;
  }

  snapshot(sku: string): Promise<number> {
    return this.stocks.snapshot(sku);
  }

  async removeSnapshot(sku: string, version: number): Promise<void> {
    await this.stocks.clearSnapshots(sku, { version });
  }
}
