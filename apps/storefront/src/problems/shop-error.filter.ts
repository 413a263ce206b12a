import { Catch, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import type { Request, Response } from 'express';
import { correlationIdOf } from './correlation-id.js';
import { ShopError } from './shop-error.js';

/** Errors of the shop as problem details (RFC 9457). Statuses from 500 on are retryable. */
@Catch(ShopError)
export class ShopErrorFilter implements ExceptionFilter<ShopError> {
  catch({ code, status, title, message: detail, details }: ShopError, host: ArgumentsHost): void {
    const request = host.switchToHttp().getRequest<Request>();
    const response = host.switchToHttp().getResponse<Response>();
    const type = `urn:storefront:error:${code.toLowerCase()}`;
    const about = { instance: request.path, correlationId: correlationIdOf(request) };
    const problem = { ...details, type, title, status, detail, code, retryable: status >= 500, ...about };
    if (problem.retryable) response.setHeader('Retry-After', '1');
    response.status(status).type('application/problem+json').send(JSON.stringify(problem));
  }
}
