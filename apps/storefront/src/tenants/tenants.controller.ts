import { Controller, Get, Param, Put, Res, UseGuards } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { z } from 'zod';
import { AdminGuard } from '../access/admin.guard.js';
import { CheckedBody, CheckedQuery } from '../http/checked.js';
import { answerPage, PageQuery, pageOf, pageRequest } from '../http/paging.js';
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
  async list(
    @CheckedQuery(PageQuery) query: z.infer<typeof PageQuery>,
    @Res({ passthrough: true }) response: Response,
  ) {
    return answerPage(await this.tenants.page(pageRequest(query)), ({ value }) => value, response);
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
    @Res({ passthrough: true }) response: Response,
  ) {
    const { tenant, added } = await this.tenants.put(id, name);
    response.status(added ? 201 : 200);
    return tenant;
  }
}
