import { Module, type DynamicModule, type MiddlewareConsumer, type NestModule } from '@nestjs/common';
import { EventStoreModule } from '@kvent/event-store';
import { KeyValueStorageModule, TenantMiddleware, type KeyValueStorage } from '@kvent/key-value-storage';
import { AccessModule } from './access/access.module.js';
import { ApiKeyMiddleware } from './access/api-key.middleware.js';
import { CartsController } from './carts/carts.controller.js';
import { CartsModule } from './carts/carts.module.js';
import { CatalogueModule } from './catalogue/catalogue.module.js';
import { ExportController } from './catalogue/export.controller.js';
import { ImportController } from './catalogue/import.controller.js';
import { ProductsController } from './catalogue/products.controller.js';
import { HealthController } from './health/health.controller.js';
import { CloseOnShutdown } from './http/close-on-shutdown.js';
import { LiveCatalogueController } from './live/live-catalogue.controller.js';
import { LiveController } from './live/live.controller.js';
import { LiveModule } from './live/live.module.js';
import type { BankTransport } from './orders/bank.js';
import { OrdersController } from './orders/orders.controller.js';
import { OrdersModule } from './orders/orders.module.js';
import { eventMetadata } from './problems/correlation-id.js';
import { ReportsModule } from './reports/reports.module.js';
import { SalesController } from './reports/sales.controller.js';
import { TotalsController } from './reports/totals.controller.js';
import { StockController } from './stock/stock.controller.js';
import { StockModule } from './stock/stock.module.js';
import { chosenStorageToken, type ChosenStorage } from './storage.js';
import { Tenants } from './tenants/tenant.js';
import { TenantsModule } from './tenants/tenants.module.js';
import { WelcomeController } from './welcome/welcome.controller.js';

const isKnown = (tenant: string, storage: KeyValueStorage): Promise<boolean> =>
  storage.store(Tenants).has(tenant);

/**
 * For high contention on the last items of a product. After the last attempt: 409 with Retry-After.
 */
const retry = { attempts: 100, delayMsMax: 500, budgetMs: 15_000 };

interface AppOptions {
  readonly adminKey: string | undefined;
  readonly mails: string | undefined;
}

@Module({
  imports: [TenantsModule, CatalogueModule, CartsModule, StockModule, LiveModule],
  controllers: [WelcomeController, HealthController],
})
export class AppModule implements NestModule {
  static on(
    storage: ChosenStorage,
    transport: BankTransport,
    { adminKey, mails }: AppOptions,
  ): DynamicModule {
    return {
      module: AppModule,
      imports: [
        KeyValueStorageModule.forRoot({
          provider: () => storage.create(),
          tenancy: { isKnown },
          retry,
        }),
        EventStoreModule.forRoot({ metadata: eventMetadata }),
        AccessModule.with(adminKey),
        OrdersModule.with(transport),
        ReportsModule.with(mails),
      ],
      providers: [{ provide: chosenStorageToken, useValue: storage }, CloseOnShutdown],
    };
  }

  configure(consumer: MiddlewareConsumer): void {
    consumer
      .apply(ApiKeyMiddleware, TenantMiddleware)
      .forRoutes(
        ExportController,
        ImportController,
        ProductsController,
        LiveController,
        LiveCatalogueController,
        CartsController,
        StockController,
        OrdersController,
        SalesController,
        TotalsController,
      );
  }
}
