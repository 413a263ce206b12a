import { Controller, Get, Res } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { StorageHealthIndicator } from '@kvent/key-value-storage';
import type { ShopResponse } from '../http/exchange.js';

@ApiTags('shop')
@Controller('health')
export class HealthController {
  constructor(private readonly storage: StorageHealthIndicator) {}

  @Get()
  @ApiOperation({ summary: 'Health and features of the storage' })
  @ApiResponse({ status: 200, description: 'A read has succeeded.' })
  @ApiResponse({ status: 503, description: 'A read has failed; `code` is the reason.' })
  async health(@Res({ passthrough: true }) response: ShopResponse) {
    const { status, ...more } = (await this.storage.isHealthy('storage')).storage;
    response.status(status === 'up' ? 200 : 503);
    return { status: status === 'up' ? 'ok' : 'error', ...more };
  }
}
