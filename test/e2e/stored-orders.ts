/** The orders of a shop, as their streams have them: not by its HTTP interface. */
import { openStorage, type KeyValueStorage } from '@kvent/key-value-storage';
import { EventStore } from '@kvent/event-store';
import { Orders, type Order } from '../../apps/storefront/src/orders/order.js';
import { chooseStorage } from '../../apps/storefront/src/storage.js';

/** The storage of the shops with this setting, opened beside them. */
export const openShopStorage = async (setting: string): Promise<KeyValueStorage> =>
  await openStorage(await chooseStorage(setting).create());

export async function storedOrders(storage: KeyValueStorage, tenant: string): Promise<readonly Order[]> {
  const streams = new EventStore(storage).stream(Orders).forTenant(tenant);
  const orders: Order[] = [];
  for (let cursor: string | undefined; ;) {
    const page = await streams.page({ limit: 1_000, cursor });
    for (const { id } of page.items) orders.push((await streams.load(id)).state);
    if (page.next === undefined) return orders;
    cursor = page.next;
  }
}
