import { Controller, Param, Post, UseGuards } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { ShopError } from '../problems/shop-error.js';
import { AccessService } from './access.service.js';
import { AdminGuard } from './admin.guard.js';

@ApiTags('tenants')
@Controller('tenants/:id/keys')
@UseGuards(AdminGuard)
export class KeysController {
  constructor(private readonly access: AccessService) {}

  @Post()
  @ApiOperation({ summary: 'A new API key of a tenant, where the shop needs keys. It is shown once.' })
  @ApiResponse({ status: 201, description: 'The key' })
  @ApiResponse({ status: 404, description: '`TENANT_UNKNOWN`; `NO_KEYS_NEEDED`' })
  async issue(@Param('id') id: string) {
    if (!this.access.needsKeys)
      throw new ShopError(
        'NO_KEYS_NEEDED',
        404,
        'No keys needed',
        'This shop runs without STOREFRONT_AUTH=keys.',
      );
    return { tenant: id, key: await this.access.issue(id) };
  }
}
