import { Module } from '@nestjs/common';
import { ProjectionsModule } from '@kvent/event-store';
import { KeyValueStorageModule } from '@kvent/key-value-storage';
import { ProjectionsController } from './projections.controller.js';
import { SalesController } from './sales.controller.js';
import { DaySales, ProductSales, SalesByDay } from './sales.js';
import { SalesService } from './sales.service.js';

@Module({
  imports: [
    KeyValueStorageModule.forFeature([DaySales, ProductSales]),
    ProjectionsModule.forFeature([SalesByDay], { onError: 'park', leaseTtlMs: 5_000 }),
  ],
  controllers: [SalesController, ProjectionsController],
  providers: [SalesService],
})
export class ReportsModule {}
