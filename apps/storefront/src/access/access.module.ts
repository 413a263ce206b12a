import { Module, type DynamicModule } from '@nestjs/common';
import { KeyValueStorageModule } from '@kvent/key-value-storage';
import { Tenants } from '../tenants/tenant.js';
import { AccessService, adminKeyToken } from './access.service.js';
import { ApiKeys } from './api-key.js';
import { KeysController } from './keys.controller.js';

@Module({})
export class AccessModule {
  /** Without an admin key, every caller may do everything. */
  static with(adminKey: string | undefined): DynamicModule {
    return {
      module: AccessModule,
      global: true,
      imports: [KeyValueStorageModule.forFeature([ApiKeys, Tenants])],
      controllers: [KeysController],
      providers: [AccessService, { provide: adminKeyToken, useValue: adminKey ?? null }],
      exports: [AccessService],
    };
  }
}
