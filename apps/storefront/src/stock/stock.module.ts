import { Module } from '@nestjs/common';
import { KeyValueStorageModule } from '@kvent/key-value-storage';
import { CatalogueModule } from '../catalogue/catalogue.module.js';
import { Reservations, Stocks } from './stock-states.js';
import { StockController } from './stock.controller.js';
import { StockService } from './stock.service.js';

@Module({
  imports: [KeyValueStorageModule.forFeature([Stocks, Reservations]), CatalogueModule],
  controllers: [StockController],
  providers: [StockService],
})
export class StockModule {}
