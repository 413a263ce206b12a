import { Controller, Delete, Get, HttpCode, Param, Post, Req, Res, UseInterceptors } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { Loaded } from '@kvent/event-store';
import { IdempotencyInterceptor, IdempotencyKey, IdempotentCall } from '@kvent/key-value-storage';
import { z } from 'zod';
import { CheckedBody, CheckedParam, CheckedQuery } from '../http/checked.js';
import type { ShopRequest, ShopResponse } from '../http/exchange.js';
import { ForTenant } from '../http/for-tenant.decorator.js';
import { answerEvents, EventsPage, EventsQuery, pointIn, PointQuery, Version } from '../http/history.js';
import { StockService } from './stock.service.js';
import { availableOf, type Stock } from './stock.js';

const ReceiptBody = z.object({ quantity: z.int().min(1).max(1_000_000) });
const ShownStock = z.object({
  onHand: z.int(),
  reserved: z.int(),
  available: z.int(),
  version: z.int().describe('The number of movements.'),
});

const show = ({ state, version }: Loaded<Stock>) => ({ ...state, available: availableOf(state), version });

@ApiTags('stock')
@ForTenant()
@Controller('stock/:sku')
export class StockController {
  constructor(private readonly stock: StockService) {}

  @Get()
  @ApiOperation({
    summary: 'Quantities on hand, reserved and available: now, at a version, or at a time',
  })
  @ApiResponse({ status: 200, standardSchema: ShownStock })
  @ApiResponse({ status: 400, description: '`INVALID_OPTION`: both a version and a time' })
  @ApiResponse({
    status: 404,
    description: '`STREAM_NOT_FOUND`; `STREAM_VERSION_NOT_FOUND`: fewer movements exist',
  })
  async get(@Param('sku') sku: string, @CheckedQuery(PointQuery) query: z.infer<typeof PointQuery>) {
    return show(await this.stock.get(sku, pointIn(query)));
  }

  @Get('movements')
  @ApiOperation({ summary: 'The movements' })
  @ApiResponse({ status: 200, standardSchema: EventsPage })
  movements(
    @Param('sku') sku: string,
    @CheckedQuery(EventsQuery) query: z.infer<typeof EventsQuery>,
    @Req() request: ShopRequest,
    @Res({ passthrough: true }) response: ShopResponse,
  ) {
    return answerEvents(this.stock.stocks, sku, query, request, response);
  }

  // A scanner in the warehouse sends a receipt again when it got no answer. After a 504 the key of
  // the response is free, and the receipt may be stored: so the stream knows the key as well.
  @Post('receipts')
  @UseInterceptors(IdempotencyInterceptor.with({ required: false }))
  @ApiOperation({ summary: 'Goods arrive; repeats with a key change nothing' })
  @ApiResponse({ status: 201, standardSchema: ShownStock })
  @ApiResponse({ status: 422, description: '`INVALID_VALUE`, with issues' })
  async receive(
    @Param('sku') sku: string,
    @CheckedBody(ReceiptBody) { quantity }: z.infer<typeof ReceiptBody>,
    @IdempotencyKey({ required: false }) call: IdempotentCall | undefined,
  ) {
    return show(await this.stock.receive(sku, quantity, call));
  }

  @Get('snapshots')
  @ApiOperation({ summary: 'The versions of the snapshots' })
  @ApiResponse({ status: 200, standardSchema: z.array(z.int()) })
  snapshots(@Param('sku') sku: string) {
    return this.stock.snapshots(sku);
  }

  @Post('snapshots')
  @ApiOperation({ summary: 'Writes a snapshot of the current stock' })
  @ApiResponse({ status: 201, standardSchema: z.object({ version: z.int() }) })
  async snapshot(@Param('sku') sku: string) {
    return { version: await this.stock.snapshot(sku) };
  }

  @Delete('snapshots/:version')
  @HttpCode(204)
  @ApiOperation({ summary: 'Deletes the snapshot of a version; results stay the same' })
  @ApiResponse({ status: 204 })
  @ApiResponse({ status: 404, description: '`SNAPSHOT_NOT_FOUND`' })
  async removeSnapshot(@Param('sku') sku: string, @CheckedParam('version', Version) version: number) {
    await this.stock.removeSnapshot(sku, version);
  }
}
