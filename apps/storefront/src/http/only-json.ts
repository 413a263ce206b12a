import type { NextFunction, NodeRequest, NodeResponse } from './exchange.js';
import { UnsupportedMediaTypeException } from '@nestjs/common';

/**
 * Bodies are JSON, else 415: Express would ignore other ones, and Fastify would parse texts. A
 * media type without a body is ignored; Fastify would refuse it.
 */
export function onlyJson({ headers }: NodeRequest, _response: NodeResponse, next: NextFunction): void {
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  if (!hasBody) delete headers['content-type'];
  else if (!/^application\/json\s*(;|$)/i.test(headers['content-type'] ?? ''))
    return next(new UnsupportedMediaTypeException('The body must be application/json.'));
  next();
}
