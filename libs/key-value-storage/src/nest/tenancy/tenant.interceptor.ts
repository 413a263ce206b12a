import {
  Inject,
  Injectable,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
} from '@nestjs/common';
import { defer, Observable, switchMap } from 'rxjs';
import { KeyValueStorage } from '../../core/store/key-value-store.js';
import { tenancyToken, type TenancyOptions } from '../options/key-value-storage-options.js';
import { TenantContext } from './tenant-context.js';
import { dependOnTenantIn } from './tenant-dependent-response.js';
import { requestOf, tenancyFor, tenantOf } from './tenant-resolution.js';

/**
 * The same as TenantMiddleware for gateways, microservices and GraphQL subscriptions, which have no
 * HTTP middleware. The handler is called, and its result is subscribed to, in the context of the
 * tenant. A current tenant is kept. `tenancy.resolve` gets the request, the socket or the context
 * of the message. HTTP responses get the headers that TenantMiddleware sets.
 */
@Injectable()
export class TenantInterceptor implements NestInterceptor {
  readonly #tenancy: TenancyOptions;
  readonly #context: TenantContext;
  readonly #storage: KeyValueStorage;

  constructor(
    @Inject(tenancyToken) tenancy: TenancyOptions | null,
    @Inject(TenantContext) context: TenantContext,
    @Inject(KeyValueStorage) storage: KeyValueStorage,
  ) {
    this.#tenancy = tenancyFor('TenantInterceptor', tenancy);
    this.#context = context;
    this.#storage = storage;
  }

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    dependOnTenantIn(context, this.#tenancy);
    return defer(
      async () =>
        this.#context.current() ??
        (await tenantOf(requestOf(context), this.#tenancy, this.#storage, context)),
    ).pipe(
      switchMap(
        (tenant) =>
          new Observable<unknown>((subscriber) =>
            this.#context.run(tenant, () => next.handle().subscribe(subscriber)),
          ),
      ),
    );
  }
}
