import { Controller, Get, Res } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { StorageHealthIndicator } from '@kvent/key-value-storage';
import type { Response } from 'express';

@ApiTags('shop')
@Controller('health')
export class HealthController {
  constructor(private readonly storage: StorageHealthIndicator) {}

  @Get()
  @ApiOperation({ summary: 'Whether the storage answers, and what it promises' })
  @ApiResponse({ status: 200, description: 'It has just answered a read.' })
  @ApiResponse({ status: 503, description: 'It has not; `code` says why.' })
  async health(@Res({ passthrough: true }) response: Response) {
    const { status, name, ...more } = (await this.storage.isHealthy('storage')).storage;
    response.status(status === 'up' ? 200 : 503);
    return { status: status === 'up' ? 'ok' : 'error', storage: name, ...more };
  }
}
