import { Controller, Get, UseGuards } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { InjectProjection, ProjectionRunner } from '@kvent/event-store';
import { AdminGuard } from '../access/admin.guard.js';
import { SalesByDay } from './sales.js';

/** For the administrator: it counts the events of all tenants. */
@ApiTags('reports')
@Controller('reports/health')
@UseGuards(AdminGuard)
export class ProjectionsController {
  constructor(@InjectProjection(SalesByDay) private readonly sales: ProjectionRunner) {}

  @Get()
  @ApiOperation({ summary: 'How far each projection is behind, and what it could not apply' })
  @ApiResponse({ status: 200, description: '`status`: up or degraded; `lag`: events that were not read.' })
  async health() {
    return { projections: [await healthOf(this.sales)] };
  }
}

async function healthOf(runner: ProjectionRunner) {
  const { projection, version, status, partitions } = runner.health();
  const [{ events, ms, heldBackMs = 0 }, parked] = await Promise.all([runner.lag(), runner.countParked()]);
  return {
    projection,
    version,
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
