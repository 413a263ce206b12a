import { Controller, Get } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { CounterStore, InjectStore, ShardedCounter } from '@kvent/key-value-storage';
import { z } from 'zod';
import { DayViews } from '../catalogue/views.js';
import { Day, dayOf } from '../day.js';
import { CheckedQuery } from '../http/checked.js';
import { ForTenant } from '../http/for-tenant.decorator.js';
import { allTime, Revenue } from '../orders/revenue.js';

const ViewsQuery = z.strictObject({ day: Day.optional().describe('Default: today, in UTC.') });

/** Numbers that are counted in the requests themselves, so they are never behind. */
@ApiTags('reports')
@ForTenant()
@Controller('reports')
export class TotalsController {
  constructor(
    @InjectStore(Revenue) private readonly paid: CounterStore<bigint>,
    @InjectStore(DayViews) private readonly dayViews: ShardedCounter,
  ) {}

  @Get('revenue')
  @ApiOperation({ summary: 'What was paid for all orders, without those that were cancelled' })
  @ApiResponse({
    status: 200,
    standardSchema: z.object({ cents: z.string() }),
    description: 'A text, because the sum may be more than a number of JavaScript holds exactly.',
  })
  async revenue() {
    return { cents: String(await this.paid.get(allTime)) };
  }

  @Get('views')
  @ApiOperation({ summary: 'How often products were shown on a day' })
  @ApiResponse({ status: 200, standardSchema: z.object({ day: Day, views: z.int() }) })
  async views(@CheckedQuery(ViewsQuery) { day = dayOf(Date.now()) }: z.infer<typeof ViewsQuery>) {
    return { day, views: await this.dayViews.get(day) };
  }
}
