import { defineState, type StateOf } from '@kvent/key-value-storage';
import { z } from 'zod';
import { ShopError } from '../problems/shop-error.js';

export const TenantSchema = z.object({ id: z.string(), name: z.string().trim().min(1).max(200) });

/** Shared: the list of tenants belongs to no tenant. All other data belong to one. */
export const Tenants = defineState('tenant', { schema: TenantSchema, scope: 'shared' });
export type Tenant = StateOf<typeof Tenants>;

/** Ids are sent in headers and addresses. */
export function assertTenantId(id: string): void {
  if (/^[a-z0-9][a-z0-9-]{0,61}$/.test(id)) return;
  const allowed = 'lower-case letters, digits and hyphens, at most 62, and begins with a letter or digit';
  throw new ShopError('INVALID_KEY', 400, 'Invalid key', `The id of a tenant must consist of ${allowed}.`);
}
