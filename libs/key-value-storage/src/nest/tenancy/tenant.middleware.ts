import { Inject, Injectable, type NestMiddleware } from '@nestjs/common';
import { KeyValueStorage } from '../../core/store/key-value-store.js';
import { tenancyToken, type TenancyOptions } from '../options/key-value-storage-options.js';
import { TenantContext } from './tenant-context.js';
import { dependOnTenant } from './tenant-dependent-response.js';
import { tenancyFor, tenantOf } from './tenant-resolution.js';

/**
 * Everything after it (guards, interceptors, handlers, server-sent events) runs for the tenant of
 * the request: that of the header `X-Tenant-Id`, or by `forRoot({ tenancy })`. 400 `TENANT_MISSING`
 * without a tenant, 404 `TENANT_UNKNOWN` if `isKnown` returns false.
 *
 * Caches must not send a response, or an error, to another tenant: the header is added to `Vary`,
 * and `Cache-Control` is `private, no-cache` unless it is set. With `resolve`, `Cache-Control` is
 * `private`, and nothing is added to `Vary`.
 *
 * `configure(consumer: MiddlewareConsumer) {
 * consumer.apply(TenantMiddleware).exclude('health').forRoutes('{*path}'); }`
 */
@Injectable()
export class TenantMiddleware implements NestMiddleware {
  readonly #tenancy: TenancyOptions;
  readonly #context: TenantContext;
  readonly #storage: KeyValueStorage;

  constructor(
    @Inject(tenancyToken) tenancy: TenancyOptions | null,
    @Inject(TenantContext) context: TenantContext,
    @Inject(KeyValueStorage) storage: KeyValueStorage,
  ) {
    this.#tenancy = tenancyFor('TenantMiddleware', tenancy);
    this.#context = context;
    this.#storage = storage;
  }

  // oxlint-disable-next-line typescript/no-explicit-any -- as in NestMiddleware: requests of Express and Fastify differ
  async use(request: any, response: unknown, next: (error?: unknown) => void): Promise<void> {
    let tenant: string;
    try {
      // first: an error depends on the tenant too
      dependOnTenant(response, this.#tenancy);
      tenant = await tenantOf(request, this.#tenancy, this.#storage);
    } catch (error) {
      return next(error);
    }
    this.#context.run(tenant, () => next());
  }
}
