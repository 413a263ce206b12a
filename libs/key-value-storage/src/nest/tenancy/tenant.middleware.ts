import { Inject, Injectable, type NestMiddleware } from '@nestjs/common';
import { KeyValueStorage } from '../../core/store/key-value-store.js';
import { tenancyToken, type TenancyOptions } from '../options/key-value-storage-options.js';
import { TenantContext } from './tenant-context.js';
import { dependOnTenant } from './tenant-dependent-response.js';
import { tenancyFor, tenantOf } from './tenant-resolution.js';

/**
 * Everything behind it (guards, interceptors, handlers, server-sent events) runs for the tenant
 * that the request names: by the header `X-Tenant-Id`, or as `forRoot({ tenancy })` says. 400
 * `TENANT_MISSING` without one, 404 `TENANT_UNKNOWN` for one that `isKnown` does not know.
 *
 * Every answer behind it, errors too, is kept from caches that serve others: `Vary` gets the
 * header, and `Cache-Control` is `private, no-cache` unless it is set; with `resolve`,
 * `Cache-Control` is `private` and nothing is added to `Vary`.
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

  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- NestMiddleware's own: requests of Express and Fastify differ
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
