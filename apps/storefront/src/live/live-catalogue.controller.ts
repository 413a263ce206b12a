import { Controller, Sse, type MessageEvent } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import {
  InjectStore,
  isStorageError,
  KeyValueStore,
  toObservable,
  type RangeChange,
} from '@kvent/key-value-storage';
import { catchError, map, of, type Observable } from 'rxjs';
import { z } from 'zod';
import { Product } from '../catalogue/product.js';
import { CheckedQuery } from '../http/checked.js';
import { ForTenant } from '../http/for-tenant.decorator.js';

const LiveQuery = z.strictObject({
  prefix: z.string().min(1).max(64).optional().describe('A prefix of the skus.'),
});

/** For a till, or an index for searches, which keeps a copy of the catalogue. */
@ApiTags('products')
@ForTenant()
@Controller('catalogue/live')
export class LiveCatalogueController {
  constructor(@InjectStore(Product) private readonly products: KeyValueStore<Product>) {}

  // Last-Event-ID is ignored: what was deleted while a client was away is not known, so each
  // connection begins with all products.
  @Sse()
  @ApiOperation({
    summary:
      'All products, `listed`, and each change, as the server-sent events `put` and `delete`; a client that connects again drops what is not listed again',
  })
  @ApiResponse({
    status: 200,
    content: { 'text/event-stream': {} },
    description:
      'With more than 10,000 products it ends with the event `error` and the code `LIMIT_EXCEEDED`: use a prefix.',
  })
  follow(@CheckedQuery(LiveQuery) { prefix }: z.infer<typeof LiveQuery>): Observable<MessageEvent> {
    return toObservable(this.products.watchRange(prefix === undefined ? {} : { prefix })).pipe(
      map(eventOf),
      catchError((error: unknown) => of(refusalOf(error))),
    );
  }
}

/** Without the tags: ten thousand products are sent faster than a client reads them. */
function eventOf(change: RangeChange<Product>): MessageEvent {
  if (change.type === 'listed') return { type: 'listed', data: {} };
  if (change.type === 'delete') return { type: 'delete', data: { sku: change.key } };
  const { sku, title, priceCents } = change.entry.value;
  return { type: 'put', data: { sku, title, priceCents } };
}

/** For the client alone: Nest would log an error that it sends. */
function refusalOf(error: unknown): MessageEvent {
  if (!isStorageError(error, 'LIMIT_EXCEEDED')) throw error;
  return { type: 'error', data: { code: error.code, detail: error.message } };
}
