import { AsyncLocalStorage } from 'node:async_hooks';
import { assertTenant } from '../../core/store/tenant.js';

/**
 * The tenant of the moment. Abstract and without private members, so that a stub of the right shape
 * is one too; Nest injects it by its class.
 */
export abstract class TenantContext {
  /** The tenant whose request or job this is, or `undefined` outside any. */
  abstract current(): string | undefined;
  /** The tenant; `TENANT_MISSING` outside any. */
  abstract currentOrThrow(): string;
  /**
   * Runs work for a tenant, with everything it awaits: for jobs. Contexts nest, the innermost
   * counts. `TENANT_MISSING` for a malformed name.
   */
  abstract run<R>(tenant: string, work: () => R): R;
}

/** One for each application: contexts of two apps in one process never mix. */
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
