import { UnsupportedMediaTypeException } from '@nestjs/common';
import { pathOf, type NextFunction, type NodeRequest, type NodeResponse } from './exchange.js';
import { jsonLinesType } from './json-lines.js';

/** The route of uploads: it reads the lines of a body as they come. */
const uploads = /^\/products\/import\/?$/i;

/**
 * Bodies are JSON, or JSON lines where they are uploads, else 415: Express would ignore other ones,
 * and Fastify would parse texts. A media type without a body is ignored; Fastify would refuse it.
 */
export function onlyJson(request: NodeRequest, _response: NodeResponse, next: NextFunction): void {
  const { headers, method } = request;
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  const expected = method === 'POST' && uploads.test(pathOf(request)) ? jsonLinesType : 'application/json';
  const [type = ''] = (headers['content-type'] ?? '').split(';', 1);
  if (!hasBody) delete headers['content-type'];
  else if (type.trim().toLowerCase() !== expected)
    return next(new UnsupportedMediaTypeException(`The body must be ${expected}.`));
  next();
}
