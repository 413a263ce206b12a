import { Controller, Delete, Get, HttpCode, Param, Put, Sse, type MessageEvent } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { Entry } from '@kvent/key-value-storage';
import { map, type Observable } from 'rxjs';
import { z } from 'zod';
import { CheckedBody } from '../http/checked.js';
import { ForTenant } from '../http/for-tenant.decorator.js';
import { CartSchema, Quantity, type Cart } from './cart.js';
import { CartsService } from './carts.service.js';

const ItemBody = z.object({ quantity: Quantity.describe('0 removes the product.') });
const ShownCart = CartSchema.extend({ id: z.string(), expiresAt: z.iso.datetime() });

const show = ({ key, value, expiresAt }: Entry<Cart>) => ({ id: key, ...value, expiresAt });

@ApiTags('carts')
@ForTenant()
@Controller('carts')
export class CartsController {
  constructor(private readonly carts: CartsService) {}

  @Put(':id/items/:sku')
  @ApiOperation({ summary: 'Sets the quantity of a product; creates the cart if needed' })
  @ApiResponse({ status: 200, standardSchema: ShownCart })
  @ApiResponse({ status: 422, description: '`INVALID_VALUE`, with issues' })
  async put(
    @Param('id') id: string,
    @Param('sku') sku: string,
    @CheckedBody(ItemBody) { quantity }: z.infer<typeof ItemBody>,
  ) {
    return show(await this.carts.put(id, sku, quantity));
  }

  @Get(':id')
  @ApiOperation({ summary: 'A cart; reading it extends its life by half an hour' })
  @ApiResponse({ status: 200, standardSchema: ShownCart })
  @ApiResponse({ status: 404, description: '`CART_NOT_FOUND`, also after it has expired; `TENANT_UNKNOWN`' })
  async get(@Param('id') id: string) {
    return show(await this.carts.get(id));
  }

  // Without an id of its own: each event is the whole cart, so there is nothing to leave out for a
  // client that connects again.
  @Sse(':id/live')
  @ApiOperation({
    summary:
      'A cart with its current prices, and each change of the cart or of a price, as server-sent events; they end when it is ordered, deleted or expired',
  })
  @ApiResponse({ status: 200, content: { 'text/event-stream': {} } })
  @ApiResponse({ status: 404, description: '`CART_NOT_FOUND`; `TENANT_UNKNOWN`' })
  async follow(@Param('id') id: string): Promise<Observable<MessageEvent>> {
    return (await this.carts.follow(id)).pipe(map((data) => ({ data })));
  }

  @Delete(':id')
  @HttpCode(204)
  @ApiOperation({ summary: 'Deletes a cart, if it exists' })
  @ApiResponse({ status: 204 })
  async remove(@Param('id') id: string) {
    await this.carts.remove(id);
  }
}
