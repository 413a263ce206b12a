import { Module } from '@nestjs/common';
import { KeyValueStorageModule } from '@kvent/key-value-storage';
import { CatalogueModule } from '../catalogue/catalogue.module.js';
import { Carts } from './cart.js';
import { CartsController } from './carts.controller.js';
import { CartsService } from './carts.service.js';

@Module({
  imports: [KeyValueStorageModule.forFeature([Carts]), CatalogueModule],
  controllers: [CartsController],
  providers: [CartsService],
  exports: [CartsService],
})
export class CartsModule {}
