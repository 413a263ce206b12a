import { Inject, Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { storageError } from '../../core/base/errors.js';
import { KeyValueStorage } from '../../core/store/key-value-store.js';
import { invalidOption } from '../../core/base/options.js';
import { tenancyToken, type TenancyOptions } from '../options/key-value-storage-options.js';
import { TenantContext } from './tenant-context.js';
import { dependOnTenantIn } from './tenant-dependent-response.js';
import { requestOf, tenancyFor, tenantOf } from './tenant-resolution.js';

/**
 * Calls `tenancy.mayEnter` for the tenant of the request: 403 `TENANT_FORBIDDEN` unless it returns
 * true, 400 `TENANT_MISSING` for a request without a tenant. It must run after the guard of the
 * authentication. Without `mayEnter` the start-up is refused, because the guard would allow
 * everything.
 */
@Injectable()
export class TenantGuard implements CanActivate {
  readonly #tenancy: TenancyOptions;
  readonly #mayEnter: NonNullable<TenancyOptions['mayEnter']>;
  readonly #context: TenantContext;
  readonly #storage: KeyValueStorage;

  constructor(
    @Inject(tenancyToken) tenancy: TenancyOptions | null,
    @Inject(TenantContext) context: TenantContext,
    @Inject(KeyValueStorage) storage: KeyValueStorage,
  ) {
    this.#tenancy = tenancyFor('TenantGuard', tenancy);
    const { mayEnter } = this.#tenancy;
    if (mayEnter === undefined)
      throw invalidOption(
        'TenantGuard needs KeyValueStorageModule.forRoot({ tenancy: { mayEnter } }): without it, every request would be allowed.',
      );
    this.#mayEnter = mayEnter;
    this.#context = context;
    this.#storage = storage;
  }

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const request = requestOf(context);
    dependOnTenantIn(context, this.#tenancy);
    // gateways and microservices have no middleware, and guards come before TenantInterceptor
    const tenant =
      this.#context.current() ?? (await tenantOf(request, this.#tenancy, this.#storage, context));
    if ((await this.#mayEnter(tenant, request, this.#storage)) === true) return true;
    throw storageError(
      'TENANT_FORBIDDEN',
      `This request may not enter the tenant ${JSON.stringify(tenant)}.`,
      { tenant },
    );
  }
}
