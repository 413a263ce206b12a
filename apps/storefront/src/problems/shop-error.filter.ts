import { Catch, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import type { HttpServer } from '@nestjs/common';
import { pathOf, type ShopRequest } from '../http/exchange.js';
import { correlationIdOf } from './correlation-id.js';
import { ShopError } from './shop-error.js';

/**
 * Errors of the shop as problem details (RFC 9457). Statuses from 500 on are retryable. The adapter
 * sends them, because an error of middleware on Fastify comes with a response of Node.
 */
@Catch(ShopError)
export class ShopErrorFilter implements ExceptionFilter<ShopError> {
  readonly #adapter: HttpServer;

  constructor(adapter: HttpServer) {
    this.#adapter = adapter;
  }

  catch({ code, status, title, message: detail, details }: ShopError, host: ArgumentsHost): void {
    const request = host.switchToHttp().getRequest<ShopRequest>();
    const response = host.switchToHttp().getResponse<object>();
    const type = `urn:storefront:error:${code.toLowerCase()}`;
    const about = { instance: pathOf(request), correlationId: correlationIdOf(request) };
    const problem = { ...details, type, title, status, detail, code, retryable: status >= 500, ...about };
    this.#adapter.setHeader(response, 'Content-Type', 'application/problem+json');
    if (problem.retryable) this.#adapter.setHeader(response, 'Retry-After', '1');
    this.#adapter.reply(response, JSON.stringify(problem), status);
  }
}
