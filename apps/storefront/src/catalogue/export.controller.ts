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
  export(): Promise<StreamableFile> {
    return jsonLines(this.catalogue.export());
  }
}
