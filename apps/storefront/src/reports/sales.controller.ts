import { Controller, Get, Headers, Sse, type MessageEvent } from '@nestjs/common';
import { ApiHeader, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { AwaitProjection } from '@kvent/event-store';
import { Paged, type PagedRequest } from '@kvent/key-value-storage';
import { map, skipWhile, type Observable } from 'rxjs';
import { z } from 'zod';
import { Day } from '../day.js';
import { CheckedQuery } from '../http/checked.js';
import { ForTenant } from '../http/for-tenant.decorator.js';
import { ListQuery, pageOf } from '../http/paging.js';
import { ProductSalesSchema, SalesByDay } from './sales.js';
import { SalesService } from './sales.service.js';

const SalesQuery = ListQuery.extend({
  from: Day.optional().describe('The first day, in UTC: `2030-01-31`.'),
  to: Day.optional().describe('The last day, inclusive.'),
}).refine(({ from = '', to = '9999' }) => from <= to, { path: ['to'], message: 'a day not before `from`' });
const LiveQuery = z.strictObject({ day: Day.optional().describe('Default: today, in UTC.') });

@ApiTags('reports')
@ForTenant()
@Controller('reports/sales')
export class SalesController {
  constructor(private readonly sales: SalesService) {}

  @Get()
  @AwaitProjection(SalesByDay, { timeoutMs: 10_000 })
  @ApiOperation({
    summary: 'What was ordered by day and product; with Kvent-Position, one’s own orders are included',
  })
  @ApiResponse({ status: 200, standardSchema: pageOf(ProductSalesSchema) })
  page(@Paged() page: PagedRequest, @CheckedQuery(SalesQuery) { from, to }: z.infer<typeof SalesQuery>) {
    return this.sales.page(from, to, page);
  }

  @Sse('live')
  @ApiOperation({ summary: 'What was ordered on a day, and each change, as server-sent events' })
  @ApiHeader({
    name: 'Last-Event-ID',
    required: false,
    description: 'The id of the last event: the current numbers are left out if they have this id.',
  })
  @ApiResponse({ status: 200, content: { 'text/event-stream': {} } })
  follow(
    @Headers('last-event-id') lastId: string | undefined,
    @CheckedQuery(LiveQuery) { day }: z.infer<typeof LiveQuery>,
  ): Observable<MessageEvent> {
    return this.sales.follow(day).pipe(
      skipWhile(({ id }) => id === lastId),
      map(({ id, sales }) => ({ id, data: sales })),
    );
  }
}
