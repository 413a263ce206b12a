import { Controller, HttpCode, Post, Req } from '@nestjs/common';
import { ApiBody, ApiConsumes, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { nodeRequestOf, type NodeRequest } from '../http/exchange.js';
import { ForTenant } from '../http/for-tenant.decorator.js';
import { jsonLinesType } from '../http/json-lines.js';
import { linesOf } from '../http/lines-of.js';
import { ProductImport, type Imported } from './product-import.js';

const ShownImport = z.object({
  loaded: z.int(),
  failed: z.int(),
  failures: z.array(z.object({ line: z.int(), code: z.string(), detail: z.string() })),
});

@ApiTags('products')
@ForTenant()
@Controller('products/import')
export class ImportController {
  constructor(private readonly products: ProductImport) {}

  @Post()
  @HttpCode(200)
  @ApiOperation({ summary: 'Creates or overwrites products: JSON lines, as of the export; idempotent' })
  @ApiConsumes(jsonLinesType)
  @ApiBody({ schema: { type: 'string' } })
  @ApiResponse({
    status: 200,
    standardSchema: ShownImport,
    description: 'How many were stored, and the first 100 lines that were refused.',
  })
  @ApiResponse({ status: 413, description: 'A line of more than 100 KiB; earlier lines may be stored.' })
  @ApiResponse({
    status: 503,
    description:
      '`IMPORT_IN_PROGRESS`: the tenant has one import at a time; `SHOP_CLOSING`; with Retry-After.',
  })
  import(@Req() request: NodeRequest | { readonly raw: NodeRequest }): Promise<Imported> {
    return this.products.run(linesOf(nodeRequestOf(request)));
  }
}
