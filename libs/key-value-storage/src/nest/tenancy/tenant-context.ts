import { AsyncLocalStorage } from 'node:async_hooks';
import { assertTenant } from '../../core/store/tenant.js';

/**
 * The current tenant. Nest injects it by its class. Abstract and without private members, so that a
 * stub is assignable.
 */
export abstract class TenantContext {
  /** The tenant of the current request or job; `undefined` outside. */
  abstract current(): string | undefined;
  /** The tenant of the current request or job; `TENANT_MISSING` outside. */
  abstract currentOrThrow(): string;
  /**
   * Runs work, and everything that it awaits, for a tenant: for jobs. In nested contexts the
   * innermost applies. `TENANT_MISSING` for a malformed name.
   */
  abstract run<R>(tenant: string, work: () => R): R;
}

/** One for each application, so that two applications of one process stay separate. */
export class AsyncTenantContext extends TenantContext {
  readonly #tenants = new AsyncLocalStorage<string>();

  current(): string | undefined {
    return this.#tenants.getStore();
  }

  currentOrThrow(): string {
    const tenant = this.current();
    assertTenant(tenant);
    return tenant;
  }

  run<R>(tenant: string, work: () => R): R {
    assertTenant(tenant);
    return this.#tenants.run(tenant, work);
  }
}
