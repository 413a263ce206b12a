import { Module } from '@nestjs/common';
import { KeyValueStorageModule } from '@kvent/key-value-storage';
import { CatalogueService } from './catalogue.service.js';
import { ExportController } from './export.controller.js';
import { Product } from './product.js';
import { Views } from './views.js';
import { ProductsController } from './products.controller.js';

@Module({
  imports: [KeyValueStorageModule.forFeature([Product, Views])],
  // the export first: its address would be that of a product
  controllers: [ExportController, ProductsController],
  providers: [CatalogueService],
  exports: [CatalogueService],
})
export class CatalogueModule {}
