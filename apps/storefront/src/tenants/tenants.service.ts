import { Injectable } from '@nestjs/common';
import {
  InjectStore,
  KeyValueStore,
  type Page,
  type PageRequest,
  type Entry,
} from '@kvent/key-value-storage';
import { assertTenantId, Tenants, type Tenant } from './tenant.js';

@Injectable()
export class TenantsService {
  constructor(@InjectStore(Tenants) private readonly tenants: KeyValueStore<Tenant>) {}

  page(request: PageRequest): Promise<Page<Entry<Tenant>>> {
    return this.tenants.page(request);
  }

  /** Creates or renames a tenant; returns whether it was created. */
  async put(id: string, name: string): Promise<{ readonly tenant: Tenant; readonly added: boolean }> {
    assertTenantId(id);
    const tenant = { id, name };
    const { entry, added } = await this.tenants.getOrAdd(id, () => tenant);
    return added
      ? { tenant: entry.value, added }
      : { tenant: (await this.tenants.set(id, tenant)).value, added };
  }
}
