import { Injectable, type CallHandler, type ExecutionContext, type NestInterceptor } from '@nestjs/common';
import { map, type Observable } from 'rxjs';
import { representation, type Representation } from '../../core/store/entry.js';
import { entityTagsIn } from './entity-tags.js';
import { isCreating } from './if-match.decorator.js';
import {
  headerOf,
  hasSentHeaders,
  setHeader,
  setStatus,
  type AnyRequest,
  type AnyResponse,
} from './http-exchange.js';

/**
 * When a handler returns an Entry, its value is sent with an `ETag`: the version, a digest of
 * tenant, state and key, and the schema version. So it differs from that of another row, and of
 * another representation of this row. A request with this etag in `If-None-Match` (also weak, in a
 * list, or `*`) gets 304 without a body. A write by `If-None-Match: *` and `@IfMatch({ create: true
 * })` gets 201. Every other result, also a list of entries, is sent as it is. There is no
 * `Last-Modified`, because seconds are too coarse.
 */
@Injectable()
export class EtagInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    if (context.getType() !== 'http') return next.handle();
    const request = context.switchToHttp().getRequest<AnyRequest>();
    const response = context.switchToHttp().getResponse<AnyResponse>();
    return next.handle().pipe(map((result: unknown) => represent(result, request, response)));
  }
}

function represent(result: unknown, request: AnyRequest, response: AnyResponse): unknown {
  if (
    typeof result !== 'object' ||
    result === null ||
    !(representation in result) ||
    hasSentHeaders(response)
  )
    return result;
  const { body, etag } = result[representation] as Representation;
  setHeader(response, 'ETag', `"${etag}"`);
  if (isKnownToClient(etag, request)) {
    setStatus(response, 304);
    return undefined;
  }
  // RFC 9110, 9.3.4; another status is a decision of the handler
  if (isCreating(request) && response.statusCode === 200) setStatus(response, 201);
  return body;
}

/** RFC 9110, 13.1.2: weak comparison, for reads only. */
function isKnownToClient(etag: string, request: AnyRequest): boolean {
  const header = headerOf(request, 'if-none-match');
  if (header === undefined || (request.method !== 'GET' && request.method !== 'HEAD')) return false;
  return header.trim() === '*' || (entityTagsIn(header)?.some((tag) => tag.etag === etag) ?? false);
}
