import { Controller, Headers, Param, Sse, type MessageEvent } from '@nestjs/common';
import { ApiHeader, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { map, skipWhile, type Observable } from 'rxjs';
import { ForTenant } from '../http/for-tenant.decorator.js';
import { LiveService } from './live.service.js';

@ApiTags('products')
@ForTenant()
@Controller('products')
export class LiveController {
  constructor(private readonly live: LiveService) {}

  @Sse(':sku/live')
  @ApiOperation({ summary: 'Price and available stock of a product, and each change, as server-sent events' })
  @ApiHeader({
    name: 'Last-Event-ID',
    required: false,
    description: 'The id of the last event, an etag: the current state is left out if it has this id.',
  })
  @ApiResponse({ status: 200, content: { 'text/event-stream': {} } })
  async follow(
    @Param('sku') sku: string,
    @Headers('last-event-id') lastId: string | undefined,
  ): Promise<Observable<MessageEvent>> {
    const products = await this.live.follow(sku);
    return products.pipe(
      skipWhile(({ etag }) => etag === lastId),
      map(({ etag, ...data }) => ({ id: etag, data })),
    );
  }
}
