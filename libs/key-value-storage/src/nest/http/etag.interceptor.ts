import { Injectable, type CallHandler, type ExecutionContext, type NestInterceptor } from '@nestjs/common';
import { map, type Observable } from 'rxjs';
import { representation, type Representation } from '../../core/store/entry.js';
import { entityTagsIn } from './entity-tags.js';
import {
  headerOf,
  hasSentHeaders,
  setHeader,
  setStatus,
  type AnyRequest,
  type AnyResponse,
} from './http-exchange.js';

/**
 * A handler that answers an Entry sends its value, with `ETag`: the version, a digest of whose it
 * is (tenant, state and key), and the schema version, so that neither another row nor another shape
 * of this one is taken for it; `If-None-Match` with that etag (also weak, in a list, or `*`) is
 * answered 304 without a body. Every other answer, a list of entries included, stays as it is.
 * There is no `Last-Modified`: a second is too coarse.
 */
@Injectable()
export class EtagInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    if (context.getType() !== 'http') return next.handle();
    const request = context.switchToHttp().getRequest<AnyRequest>();
    const response = context.switchToHttp().getResponse<AnyResponse>();
    return next.handle().pipe(map((answer: unknown) => represent(answer, request, response)));
  }
}

function represent(answer: unknown, request: AnyRequest, response: AnyResponse): unknown {
  if (
    typeof answer !== 'object' ||
    answer === null ||
    !(representation in answer) ||
    hasSentHeaders(response)
  )
    return answer;
  const { body, etag } = answer[representation] as Representation;
  setHeader(response, 'ETag', `"${etag}"`);
  if (!isKnownToClient(etag, request)) return body;
  setStatus(response, 304);
  return undefined;
}

/** RFC 9110, 13.1.2: weak comparison, and for reads alone. */
function isKnownToClient(etag: string, request: AnyRequest): boolean {
  const given = headerOf(request, 'if-none-match');
  if (given === undefined || (request.method !== 'GET' && request.method !== 'HEAD')) return false;
  return given.trim() === '*' || (entityTagsIn(given)?.some((tag) => tag.etag === etag) ?? false);
}
