import { Controller, Get, HttpCode, Param, Post, Req, Res, UseInterceptors } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { PositionInterceptor } from '@kvent/event-store';
import {
  EtagInterceptor,
  IdempotencyKey,
  IdempotentCall,
  IfMatch,
  Paged,
  type PagedRequest,
  Precondition,
} from '@kvent/key-value-storage';
import { z } from 'zod';
import { CheckedBody, CheckedQuery } from '../http/checked.js';
import type { ShopRequest, ShopResponse } from '../http/exchange.js';
import { ForTenant } from '../http/for-tenant.decorator.js';
import { answerEvents, EventsPage, EventsQuery, pointIn, PointQuery } from '../http/history.js';
import { ListQuery, pageOf } from '../http/paging.js';
import { Card } from './bank.js';
import { OrderStatus, SummarySchema } from './order-summary.js';
import { OrderItem } from './order.js';
import { OrdersService } from './orders.service.js';

const OrderBody = z.object({ cart: z.string().min(1).describe('The id of a cart. The order deletes it.') });
const PaymentBody = z.object({
  card: Card.describe('slow: takes three seconds; the order is locked for that time.'),
});
const OrdersQuery = ListQuery.extend({ status: OrderStatus.optional() });
const ShownOrder = SummarySchema.extend({
  cart: z.string(),
  items: z.array(OrderItem),
  reference: z.string().optional(),
});

const bankDescription = '`BANK_UNAVAILABLE`: a repeat is safe.';
const lockedDescription = '`STREAM_LOCKED` during a payment, with Retry-After';

@ApiTags('orders')
@ForTenant()
@Controller('orders')
@UseInterceptors(EtagInterceptor, PositionInterceptor)
export class OrdersController {
  constructor(private readonly orders: OrdersService) {}

  @Post()
  @ApiOperation({ summary: 'Orders the items of a cart; repeats create no second order' })
  @ApiResponse({
    status: 201,
    standardSchema: ShownOrder,
    description: 'A repeat has the header Idempotency-Replayed: true',
  })
  @ApiResponse({ status: 409, description: '`INSUFFICIENT_STOCK` with sku, needed, available; `CART_EMPTY`' })
  @ApiResponse({
    status: 422,
    description: '`IDEMPOTENCY_CONFLICT`: the key was used for another cart; `INVALID_VALUE`',
  })
  async place(
    @CheckedBody(OrderBody) { cart }: z.infer<typeof OrderBody>,
    @IdempotencyKey() call: IdempotentCall,
    @Res({ passthrough: true }) response: ShopResponse,
  ) {
    const order = await this.orders.place(cart, call);
    response.header('Location', `/orders/${order.id}`);
    if (order.replayed || order.events.length === 0) response.header('Idempotency-Replayed', 'true');
    return order;
  }

  @Get()
  @ApiOperation({ summary: 'Orders by status and time, always current' })
  @ApiResponse({ status: 200, standardSchema: pageOf(SummarySchema) })
  list(@Paged() page: PagedRequest, @CheckedQuery(OrdersQuery) { status }: z.infer<typeof OrdersQuery>) {
    return this.orders.page({ ...page, ...(status !== undefined && { prefix: [status] }) });
  }

  @Get(':id')
  @ApiOperation({ summary: 'An order: now, at a version, or at a time' })
  @ApiResponse({ status: 200, standardSchema: ShownOrder })
  @ApiResponse({ status: 404, description: '`STREAM_NOT_FOUND`; `STREAM_VERSION_NOT_FOUND`' })
  get(@Param('id') id: string, @CheckedQuery(PointQuery) query: z.infer<typeof PointQuery>) {
    return this.orders.get(id, pointIn(query));
  }

  @Get(':id/events')
  @ApiOperation({ summary: 'The events of an order' })
  @ApiResponse({ status: 200, standardSchema: EventsPage })
  events(
    @Param('id') id: string,
    @CheckedQuery(EventsQuery) query: z.infer<typeof EventsQuery>,
    @Req() request: ShopRequest,
    @Res({ passthrough: true }) response: ShopResponse,
  ) {
    return answerEvents(this.orders.orders, id, query, request, response);
  }

  @Post(':id/payment')
  @HttpCode(200)
  @ApiOperation({ summary: 'Charges a card while the order is locked' })
  @ApiResponse({ status: 200, standardSchema: ShownOrder })
  @ApiResponse({ status: 402, description: '`PAYMENT_DECLINED`: the goods are released.' })
  @ApiResponse({
    status: 409,
    description:
      '`ORDER_NOT_PAYABLE`: it was paid, declined, cancelled or shipped; `SESSION_EXPIRED`, `SESSION_LOST`: the payment took longer than the lock; a repeat is safe.',
  })
  @ApiResponse({
    status: 423,
    description: '`SESSION_OPEN_FAILED`: another payment is in progress; with Retry-After',
  })
  @ApiResponse({ status: 502, description: bankDescription })
  pay(@Param('id') id: string, @CheckedBody(PaymentBody) { card }: z.infer<typeof PaymentBody>) {
    return this.orders.pay(id, card);
  }

  @Post(':id/cancellation')
  @HttpCode(200)
  @ApiOperation({ summary: 'Releases the goods and refunds the payment; idempotent' })
  @ApiResponse({ status: 200, standardSchema: ShownOrder })
  @ApiResponse({ status: 409, description: '`ORDER_SHIPPED`' })
  @ApiResponse({ status: 423, description: lockedDescription })
  @ApiResponse({ status: 502, description: bankDescription })
  cancel(@Param('id') id: string) {
    return this.orders.cancel(id);
  }

  @Post(':id/shipment')
  @HttpCode(200)
  @ApiOperation({ summary: 'Ships the goods; idempotent' })
  @ApiResponse({ status: 200, standardSchema: ShownOrder })
  @ApiResponse({ status: 409, description: '`ORDER_NOT_PAID`' })
  @ApiResponse({ status: 412, description: '`STREAM_VERSION_MISMATCH`: it has changed since.' })
  @ApiResponse({ status: 423, description: lockedDescription })
  ship(@Param('id') id: string, @IfMatch({ required: false }) ifMatch: Precondition) {
    return this.orders.ship(id, { ifMatch });
  }
}
