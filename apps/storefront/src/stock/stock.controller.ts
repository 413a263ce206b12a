import { Controller, Get, HttpCode, Param, Post, Res } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { z } from 'zod';
import { CheckedBody } from '../http/checked.js';
import { ForTenant } from '../http/for-tenant.decorator.js';
import { StockService, type Reserved } from './stock.service.js';
import { availableOf, type Stock } from './stock.js';

const Quantity = z.int().min(1).max(1_000_000);
const ReceiptBody = z.object({ quantity: Quantity });
const ReservationBody = z.object({
  quantity: Quantity,
  id: z
    .string()
    .regex(/^[A-Za-z0-9][\w.-]{0,99}$/, 'letters, digits, "_", "." and "-", at most 100, first a letter or digit')
    .optional()
    .describe('The same id again changes nothing. One is made if none is given.'),
});

const ShownStock = z.object({ onHand: z.int(), reserved: z.int(), available: z.int(), version: z.int().describe('How many movements.') });
const ShownReservation = z.object({
  id: z.string(),
  sku: z.string(),
  quantity: z.int(),
  status: z.enum(['reserved', 'committed', 'released']),
  stock: ShownStock,
});

const showStock = (stock: Stock) => ({
  onHand: stock.onHand,
  reserved: stock.reserved,
  available: availableOf(stock),
  version: stock.version,
});
const showReservation = (sku: string, { id, reservation, stock }: Reserved) => ({ id, sku, ...reservation, stock: showStock(stock) });

@ApiTags('stock')
@ForTenant()
@Controller('stock/:sku')
export class StockController {
  constructor(private readonly stock: StockService) {}

  @Get()
  @ApiOperation({ summary: 'What is there, what is reserved, what is left' })
  @ApiResponse({ status: 200, standardSchema: ShownStock })
  async get(@Param('sku') sku: string) {
    return showStock(await this.stock.get(sku));
  }

  @Post('receipts')
  @ApiOperation({ summary: 'Goods arrive' })
  @ApiResponse({ status: 201, standardSchema: ShownStock })
  @ApiResponse({ status: 422, description: '`INVALID_VALUE`, with issues' })
  async receive(@Param('sku') sku: string, @CheckedBody(ReceiptBody) { quantity }: z.infer<typeof ReceiptBody>) {
    return showStock(await this.stock.receive(sku, quantity));
  }

  @Post('reservations')
  @ApiOperation({ summary: 'Promises goods to somebody: never more than there are, however many ask at once' })
  @ApiResponse({ status: 201, standardSchema: ShownReservation })
  @ApiResponse({ status: 200, standardSchema: ShownReservation, description: 'This id was there already; nothing has changed.' })
  @ApiResponse({ status: 409, description: '`INSUFFICIENT_STOCK` with sku, needed, available; `RESERVATION_EXISTS`: of another quantity' })
  @ApiResponse({ status: 422, description: '`INVALID_VALUE`, with issues' })
  async reserve(
    @Param('sku') sku: string,
    @CheckedBody(ReservationBody) { quantity, id }: z.infer<typeof ReservationBody>,
    @Res({ passthrough: true }) response: Response,
  ) {
    const reserved = await this.stock.reserve(sku, quantity, id);
    response.status(reserved.replayed ? 200 : 201);
    response.location(`/stock/${encodeURIComponent(sku)}/reservations/${encodeURIComponent(reserved.id)}`);
    return showReservation(sku, reserved);
  }

  @Get('reservations/:id')
  @ApiOperation({ summary: 'A reservation, and what became of it' })
  @ApiResponse({ status: 200, standardSchema: ShownReservation })
  async reservation(@Param('sku') sku: string, @Param('id') id: string) {
    return showReservation(sku, await this.stock.reservation(sku, id));
  }

  @Post('reservations/:id/commitment')
  @HttpCode(200)
  @ApiOperation({ summary: 'The reserved goods leave; twice is the same as once' })
  @ApiResponse({ status: 200, standardSchema: ShownReservation })
  @ApiResponse({ status: 409, description: '`RESERVATION_SETTLED`: it was released already.' })
  async commit(@Param('sku') sku: string, @Param('id') id: string) {
    return showReservation(sku, await this.stock.commit(sku, id));
  }

  @Post('reservations/:id/release')
  @HttpCode(200)
  @ApiOperation({ summary: 'The reserved goods stay, for somebody else; twice is the same as once' })
  @ApiResponse({ status: 200, standardSchema: ShownReservation })
  @ApiResponse({ status: 409, description: '`RESERVATION_SETTLED`: it was committed already.' })
  async release(@Param('sku') sku: string, @Param('id') id: string) {
    return showReservation(sku, await this.stock.release(sku, id));
  }
}
