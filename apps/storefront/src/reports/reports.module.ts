import { Module, type DynamicModule } from '@nestjs/common';
import { ProjectionsModule } from '@kvent/event-store';
import { KeyValueStorageModule } from '@kvent/key-value-storage';
import { MailModule } from '../mail/mail.module.js';
import { DayViews } from '../catalogue/views.js';
import { Revenue } from '../orders/revenue.js';
import { ReportsHealthController } from './reports-health.controller.js';
import { SalesController } from './sales.controller.js';
import { DaySales, ProductSales, SalesByDay } from './sales.js';
import { SalesService } from './sales.service.js';
import { TotalsController } from './totals.controller.js';

@Module({
  imports: [
    KeyValueStorageModule.forFeature([DaySales, ProductSales, DayViews, Revenue]),
    ProjectionsModule.forFeature([SalesByDay], { onError: 'park', leaseTtlMs: 5_000 }),
  ],
  controllers: [SalesController, TotalsController, ReportsHealthController],
  providers: [SalesService],
})
export class ReportsModule {
  /** With the folder of the mails, if there is one: their reaction is a part of the health. */
  static with(mails: string | undefined): DynamicModule {
    return { module: ReportsModule, imports: mails === undefined ? [] : [MailModule.to(mails)] };
  }
}
