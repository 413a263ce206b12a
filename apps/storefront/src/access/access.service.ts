import { randomBytes, timingSafeEqual } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { InjectStore, KeyValueStore } from '@kvent/key-value-storage';
import { ShopError } from '../problems/shop-error.js';
import { Tenants, type Tenant } from '../tenants/tenant.js';
import { ApiKeys, digestOf, type ApiKey } from './api-key.js';

export const adminKeyToken = Symbol('storefront.admin-key');

/** Who may do what. Without an admin key the shop is a demo: every caller may do everything. */
@Injectable()
export class AccessService {
  readonly #adminDigest: Buffer | undefined;

  constructor(
    @Inject(adminKeyToken) adminKey: string | null,
    @InjectStore(ApiKeys) private readonly keys: KeyValueStore<ApiKey>,
    @InjectStore(Tenants) private readonly tenants: KeyValueStore<Tenant>,
  ) {
    this.#adminDigest = adminKey === null ? undefined : digestOf(adminKey);
  }

  get needsKeys(): boolean {
    return this.#adminDigest !== undefined;
  }

  /** 401 without a known key, 403 with a key that is not the admin's. */
  async assertAdmin(key: string | undefined): Promise<void> {
    if (this.#adminDigest === undefined || this.#isAdmin(key)) return;
    await this.#tenantOf(key);
    throw forbidden('This key is not the key of the administrator.');
  }

  /** 401 without a known key, 403 with the key of another tenant. */
  async assertTenant(key: string | undefined, tenant: string | undefined): Promise<void> {
    if (this.#adminDigest === undefined) return;
    const own = await this.#tenantOf(key);
    // without a tenant, `TenantMiddleware` refuses the request
    if (tenant !== undefined && own !== tenant)
      throw forbidden('This key is not a key of the tenant in X-Tenant-Id.');
  }

  /** A new key of a tenant. It is returned once; only its digest is kept. */
  async issue(tenant: string): Promise<string> {
    if (!(await this.tenants.has(tenant)))
      throw new ShopError('TENANT_UNKNOWN', 404, 'Unknown tenant', `There is no tenant ${tenant}.`);
    const key = randomBytes(32).toString('base64url');
    await this.keys.add(digestOf(key).toString('hex'), { tenant });
    return key;
  }

  #isAdmin(key: string | undefined): boolean {
    return (
      key !== undefined &&
      this.#adminDigest !== undefined &&
      timingSafeEqual(digestOf(key), this.#adminDigest)
    );
  }

  async #tenantOf(key: string | undefined): Promise<string | undefined> {
    if (this.#isAdmin(key)) return undefined;
    const entry = key === undefined ? undefined : await this.keys.get(digestOf(key).toString('hex'));
    if (entry === undefined)
      throw new ShopError(
        'UNAUTHENTICATED',
        401,
        'Authentication required',
        'X-Api-Key must hold a valid key.',
      );
    return entry.value.tenant;
  }
}

const forbidden = (message: string): ShopError => new ShopError('FORBIDDEN', 403, 'Access denied', message);
