import { Module } from '@nestjs/common';
import { EventStoreModule } from '@kvent/event-store';
import { KeyValueStorageModule } from '@kvent/key-value-storage';
import { CatalogueModule } from '../catalogue/catalogue.module.js';
import { Product } from '../catalogue/product.js';
import { LastMovements } from '../stock/last-movement.js';
import { Stocks } from '../stock/stock.js';
import { LiveCatalogueController } from './live-catalogue.controller.js';
import { LiveController } from './live.controller.js';
import { LiveService } from './live.service.js';

@Module({
  imports: [
    KeyValueStorageModule.forFeature([Product, LastMovements]),
    EventStoreModule.forFeature([Stocks]),
    CatalogueModule,
  ],
  controllers: [LiveController, LiveCatalogueController],
  providers: [LiveService],
})
export class LiveModule {}
