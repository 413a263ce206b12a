import { Module, type DynamicModule } from '@nestjs/common';
import { EventStoreModule } from '@kvent/event-store';
import { KeyValueStorageModule } from '@kvent/key-value-storage';
import { Carts } from '../carts/cart.js';
import { CartsModule } from '../carts/carts.module.js';
import { CatalogueModule } from '../catalogue/catalogue.module.js';
import { LastMovements } from '../stock/last-movement.js';
import { Stocks } from '../stock/stock.js';
import { Bank, BankBooks, bankTransportToken, type BankTransport } from './bank.js';
import { OrderSummaries } from './order-summary.js';
import { Orders } from './order.js';
import { OrdersController } from './orders.controller.js';
import { OrdersService } from './orders.service.js';
import { Revenue } from './revenue.js';

@Module({
  imports: [
    EventStoreModule.forFeature([Orders, Stocks]),
    KeyValueStorageModule.forFeature([OrderSummaries, Carts, BankBooks, LastMovements, Revenue]),
    CartsModule,
    CatalogueModule,
  ],
  controllers: [OrdersController],
  providers: [OrdersService, Bank],
})
export class OrdersModule {
  static with(transport: BankTransport): DynamicModule {
    return { module: OrdersModule, providers: [{ provide: bankTransportToken, useValue: transport }] };
  }
}
