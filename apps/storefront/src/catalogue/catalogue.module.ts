import { Module } from '@nestjs/common';
import { KeyValueStorageModule } from '@kvent/key-value-storage';
import { CatalogueService } from './catalogue.service.js';
import { ExportController } from './export.controller.js';
import { Product } from './product.js';
import { ImportController } from './import.controller.js';
import { ProductImport } from './product-import.js';
import { ProductMigration } from './product-migration.js';
import { ProductMigrationController } from './product-migration.controller.js';
import { ProductsController } from './products.controller.js';
import { DayViews, Views } from './views.js';

@Module({
  imports: [KeyValueStorageModule.forFeature([Product, Views, DayViews])],
  // the export first: its address would be that of a product
  controllers: [ExportController, ImportController, ProductsController, ProductMigrationController],
  providers: [CatalogueService, ProductImport, ProductMigration],
  exports: [CatalogueService],
})
export class CatalogueModule {}
