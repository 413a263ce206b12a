import { Controller, Get, Optional, UseGuards } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { InjectProjection, InjectReaction, ProjectionRunner, ReactionRunner } from '@kvent/event-store';
import { AdminGuard } from '../access/admin.guard.js';
import { OrderMails } from '../mail/order-mails.js';
import { SalesByDay } from './sales.js';

/** For the administrator: it counts the events of all tenants. */
@ApiTags('reports')
@Controller('reports/health')
@UseGuards(AdminGuard)
export class ReportsHealthController {
  constructor(
    @InjectProjection(SalesByDay) private readonly sales: ProjectionRunner,
    // without STOREFRONT_MAILS there is none
    @Optional() @InjectReaction(OrderMails) private readonly mails?: ReactionRunner,
  ) {}

  @Get()
  @ApiOperation({
    summary: 'How far projections and the mails are behind, and what they could not apply',
  })
  @ApiResponse({
    status: 200,
    description:
      '`projections` and `reactions`; of each, `status`: up or degraded; `lag`: events that were not read; `parked`: streams that are put aside.',
  })
  async health() {
    const [projections, reactions] = await Promise.all([
      Promise.all([this.sales].map(healthOf)),
      Promise.all((this.mails === undefined ? [] : [this.mails]).map(healthOf)),
    ]);
    return { projections, reactions };
  }
}

async function healthOf(runner: ProjectionRunner | ReactionRunner) {
  const { status, partitions, ...named } = runner.health();
  const [{ events, ms, heldBackMs = 0 }, parked] = await Promise.all([runner.lag(), runner.countParked()]);
  return {
    ...named,
    status: parked > 0 ? 'degraded' : status,
    lag: { events, ms },
    heldBackMs,
    parked,
    partitions: partitions.map(({ partition, state, behind }) => ({
      partition,
      state,
      behind: behind.map(({ tenant, state, event, reason }) => ({ tenant, state, event, reason })),
    })),
  };
}
