import { Controller, Get, Param, Put, Res, UseGuards } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { Paged, type PagedRequest } from '@kvent/key-value-storage';
import { z } from 'zod';
import { AdminGuard } from '../access/admin.guard.js';
import { CheckedBody, CheckedQuery } from '../http/checked.js';
import type { ShopResponse } from '../http/exchange.js';
import { ListQuery, pageOf } from '../http/paging.js';
import { TenantSchema } from './tenant.js';
import { TenantsService } from './tenants.service.js';

const TenantBody = TenantSchema.omit({ id: true });

@ApiTags('tenants')
@Controller('tenants')
@UseGuards(AdminGuard)
export class TenantsController {
  constructor(private readonly tenants: TenantsService) {}

  @Get()
  @ApiOperation({ summary: 'All tenants, by id' })
  @ApiResponse({ status: 200, standardSchema: pageOf(TenantSchema) })
  @ApiResponse({ status: 400, description: '`INVALID_OPTION`' })
  list(@Paged() page: PagedRequest, @CheckedQuery(ListQuery) _query: unknown) {
    return this.tenants.page(page);
  }

  @Put(':id')
  @ApiOperation({ summary: 'Creates a tenant with an empty shop, or renames it' })
  @ApiResponse({ status: 201, standardSchema: TenantSchema, description: 'Created' })
  @ApiResponse({ status: 200, standardSchema: TenantSchema, description: 'Renamed' })
  @ApiResponse({ status: 400, description: '`INVALID_KEY`' })
  @ApiResponse({ status: 422, description: '`INVALID_VALUE`, with issues' })
  async put(
    @Param('id') id: string,
    @CheckedBody(TenantBody) { name }: z.infer<typeof TenantBody>,
    @Res({ passthrough: true }) response: ShopResponse,
  ) {
    const { tenant, added } = await this.tenants.put(id, name);
    response.status(added ? 201 : 200);
    return tenant;
  }
}
