import { Controller, Delete, Get, HttpCode, Param, Post, Put, Res, UseInterceptors } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import {
  EtagInterceptor,
  IdempotencyKey,
  IdempotentCall,
  IfMatch,
  invalidValue,
  Paged,
  type PagedRequest,
  Precondition,
  RetryOnConflictInterceptor,
} from '@kvent/key-value-storage';
import { z } from 'zod';
import { CheckedBody, CheckedQuery } from '../http/checked.js';
import type { ShopResponse } from '../http/exchange.js';
import { ForTenant } from '../http/for-tenant.decorator.js';
import { ListQuery, pageOf } from '../http/paging.js';
import { CatalogueService } from './catalogue.service.js';
import { ProductSchema } from './product.js';

const ProductBody = ProductSchema.partial({ sku: true });
const ProductsQuery = ListQuery.extend({
  prefix: z.string().min(1).optional().describe('A prefix of the keys.'),
  sort: z.enum(['sku', 'price']).default('sku').describe('`price`: by price, then by sku.'),
}).refine(({ sort, prefix }) => sort === 'sku' || prefix === undefined, {
  path: ['prefix'],
  message: 'a prefix needs sort=sku',
});
const Additions = z.object({
  items: z
    .array(ProductSchema)
    .min(1)
    .max(100)
    .refine((items) => new Set(items.map(({ sku }) => sku)).size === items.length, 'a sku is there twice'),
});
const Deletions = z.object({ skus: z.array(z.string().min(1).max(64)).min(1).max(1_000) });
const PriceChange = z.object({ by: z.int().describe('Cents, up or down.') });

// a header, because the ETag is that of the product: its body must not change with each view
const viewsHeader = {
  'Storefront-Views': { description: 'How often it was shown.', schema: { type: 'integer' as const } },
};

@ApiTags('products')
@ForTenant()
@Controller('products')
@UseInterceptors(EtagInterceptor)
export class ProductsController {
  constructor(private readonly catalogue: CatalogueService) {}

  @Post()
  @ApiOperation({ summary: 'Adds a product; of concurrent calls with the same sku, one succeeds' })
  @ApiResponse({ status: 201, standardSchema: ProductSchema })
  @ApiResponse({ status: 409, description: '`KEY_EXISTS`' })
  @ApiResponse({ status: 422, description: '`INVALID_VALUE`, with issues' })
  async add(
    @CheckedBody(ProductSchema) body: z.infer<typeof ProductSchema>,
    @Res({ passthrough: true }) response: ShopResponse,
  ) {
    const product = await this.catalogue.add(body);
    response.header('Location', `/products/${encodeURIComponent(body.sku)}`);
    return product;
  }

  @Post('additions')
  @ApiOperation({ summary: 'Adds up to 100 products, all or none: the sizes of a shirt' })
  @ApiResponse({ status: 201, standardSchema: z.object({ items: z.array(ProductSchema) }) })
  @ApiResponse({ status: 409, description: '`KEY_EXISTS` with the first sku that is taken; none is added.' })
  @ApiResponse({ status: 422, description: '`INVALID_VALUE`, with issues' })
  async addAll(@CheckedBody(Additions) { items }: z.infer<typeof Additions>) {
    const products = await this.catalogue.addAll(items);
    return { items: products.map(({ value }) => value) };
  }

  @Post('deletions')
  @HttpCode(200)
  @ApiOperation({ summary: 'Deletes up to 1,000 products in any version; idempotent' })
  @ApiResponse({ status: 200, standardSchema: z.object({ deleted: z.int() }) })
  @ApiResponse({ status: 422, description: '`INVALID_VALUE`, with issues' })
  async removeAll(@CheckedBody(Deletions) { skus }: z.infer<typeof Deletions>) {
    return { deleted: await this.catalogue.removeAll(skus) };
  }

  @Get()
  @ApiOperation({ summary: 'Products in the order of their sku or price, in pages' })
  @ApiResponse({ status: 200, standardSchema: pageOf(ProductSchema) })
  list(
    @Paged() page: PagedRequest,
    @CheckedQuery(ProductsQuery) { prefix, sort }: z.infer<typeof ProductsQuery>,
  ) {
    if (sort === 'price') return this.catalogue.pageByPrice(page);
    return this.catalogue.page({ ...page, ...(prefix !== undefined && { prefix }) });
  }

  @Get(':sku')
  @ApiOperation({ summary: 'A product; 304 if the client has the current version. Counts the view' })
  @ApiResponse({ status: 200, standardSchema: ProductSchema, headers: viewsHeader })
  async get(@Param('sku') sku: string, @Res({ passthrough: true }) response: ShopResponse) {
    const product = await this.catalogue.get(sku);
    response.header('Storefront-Views', String(await this.catalogue.countView(sku)));
    return product;
  }

  @Put(':sku')
  @ApiOperation({
    summary:
      'Replaces a product, if it has not changed since the client read it; creates it with If-None-Match: *',
  })
  @ApiResponse({ status: 200, standardSchema: ProductSchema })
  @ApiResponse({ status: 422, description: '`INVALID_VALUE`, with issues' })
  replace(
    @Param('sku') sku: string,
    @IfMatch({ create: true }) ifMatch: Precondition,
    @CheckedBody(ProductBody) body: z.infer<typeof ProductBody>,
  ) {
    if (body.sku !== undefined && body.sku !== sku)
      throw invalidValue([{ message: `not the sku of this address, ${sku}`, path: ['sku'] }]);
    return this.catalogue.replace({ ...body, sku }, ifMatch);
  }

  @Delete(':sku')
  @HttpCode(204)
  @ApiOperation({ summary: 'Deletes a product, if it has not changed since the client read it' })
  @ApiResponse({ status: 204 })
  async remove(@Param('sku') sku: string, @IfMatch() ifMatch: Precondition) {
    await this.catalogue.remove(sku, ifMatch);
  }

  // Of n concurrent calls, each may lose n - 1 times: 50 attempts serve 50 calls.
  @Post(':sku/price-changes')
  @HttpCode(200)
  @UseInterceptors(
    RetryOnConflictInterceptor.with({ attempts: 50, delayMsMax: 50, attemptsHeader: 'Storefront-Attempts' }),
  )
  @ApiOperation({
    summary:
      'Raises or lowers the price; concurrent changes are never lost, and repeats with a key change nothing',
  })
  @ApiResponse({
    status: 200,
    standardSchema: ProductSchema,
    description: 'The header Storefront-Attempts contains the number of attempts.',
  })
  @ApiResponse({ status: 422, description: '`INVALID_VALUE`: the price would fall below zero.' })
  changePrice(
    @Param('sku') sku: string,
    @CheckedBody(PriceChange) { by }: z.infer<typeof PriceChange>,
    @IdempotencyKey({ required: false }) call: IdempotentCall | undefined,
  ) {
    return this.catalogue.changePrice(sku, by, call);
  }
}
