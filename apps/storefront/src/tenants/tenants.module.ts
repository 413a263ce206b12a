import { Module } from '@nestjs/common';
import { KeyValueStorageModule } from '@kvent/key-value-storage';
import { Tenants } from './tenant.js';
import { TenantsController } from './tenants.controller.js';
import { TenantsService } from './tenants.service.js';

@Module({
  imports: [KeyValueStorageModule.forFeature([Tenants])],
  controllers: [TenantsController],
  providers: [TenantsService],
})
export class TenantsModule {}
