import { Inject, Injectable, type NestMiddleware } from '@nestjs/common';
import { KeyValueStorage } from '../../core/key-value-store.js';
import { tenancyToken, type TenancyOptions } from '../key-value-storage-options.js';
import { TenantContext } from './tenant-context.js';
import { tenancyFor, tenantOf } from './tenant-resolution.js';

/**
 * Everything behind it (guards, interceptors, handlers, server-sent events) runs for the tenant that the request names: by the header
 * `X-Tenant-Id`, or as `forRoot({ tenancy })` says. 400 `TENANT_MISSING` without one, 404 `TENANT_UNKNOWN` for one that `isKnown` does not know.
 * `configure(consumer: MiddlewareConsumer) { consumer.apply(TenantMiddleware).exclude('health').forRoutes('{*path}'); }`
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
  async use(request: any, _response: unknown, next: (error?: unknown) => void): Promise<void> {
    let tenant: string;
    try {
      tenant = await tenantOf(request, this.#tenancy, this.#storage);
    } catch (error) {
      return next(error);
    }
    this.#context.run(tenant, () => next());
  }
}
