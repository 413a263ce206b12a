import { Module } from '@nestjs/common';
import { EventStoreModule } from '@kvent/event-store';
import { KeyValueStorageModule } from '@kvent/key-value-storage';
import { CatalogueModule } from '../catalogue/catalogue.module.js';
import { LastMovements } from './last-movement.js';
import { StockController } from './stock.controller.js';
import { StockService } from './stock.service.js';
import { Stocks } from './stock.js';

@Module({
  imports: [
    EventStoreModule.forFeature([Stocks]),
    KeyValueStorageModule.forFeature([LastMovements]),
    CatalogueModule,
  ],
  controllers: [StockController],
  providers: [StockService],
})
export class StockModule {}
