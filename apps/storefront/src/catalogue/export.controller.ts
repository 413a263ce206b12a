import { Controller, Get, type StreamableFile } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { ForTenant } from '../http/for-tenant.decorator.js';
import { jsonLines, jsonLinesType } from '../http/json-lines.js';
import { CatalogueService } from './catalogue.service.js';

@ApiTags('products')
@ForTenant()
@Controller('products/export')
export class ExportController {
  constructor(private readonly catalogue: CatalogueService) {}

  @Get()
  @ApiOperation({ summary: 'All products of one moment, as JSON lines' })
  @ApiResponse({ status: 200, content: { [jsonLinesType]: {} }, description: 'A product in each line.' })
  @ApiResponse({
    status: 503,
    description: '`EXPORT_IN_PROGRESS`: the tenant has one export at a time; with Retry-After.',
  })
  export(): Promise<StreamableFile> {
    return jsonLines(this.catalogue.export());
  }
}
