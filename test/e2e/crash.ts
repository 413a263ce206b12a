/**
 * Whatever ends the running shop, every write that it has answered with 2xx is there when it opens
 * again.
 */
import { describe, expect, it } from '@jest/globals';
import { Load } from './load.js';
import { ShopProcess } from './shop-process.js';
import { lasting, type StorageUnderTest } from './storages.js';

export function crashes(): void {
  for (const storage of lasting.filter((each) => !each.shared))
    describe(`What was answered, on ${storage.name},`, () => survives(storage));
}

function survives(storage: StorageUnderTest): void {
  it('is there after a SIGTERM under load, which ends the shop all the same', async () => {
    await using place = await storage.place();
    const load = new Load();
    await using first = await ShopProcess.open({ storage: place.setting });
    await load.begin(first.client);
    const working = load.work(first.client);
    await load.reached(200);
    expect(await first.kill('SIGTERM')).toMatchObject({ code: 0, stderr: '' });
    await working;
    await using second = await ShopProcess.open({ storage: place.setting });
    await load.assertThere(second.client);
  });

  it('is there after three kill -9 in a row, each under load', async () => {
    await using place = await storage.place();
    const load = new Load();
    for (let round = 1; round <= 3; round += 1) {
      await using shop = await ShopProcess.open({ storage: place.setting });
      if (round === 1) await load.begin(shop.client);
      else await load.assertThere(shop.client);
      const working = load.work(shop.client);
      await load.reached(round * 150);
      expect(await shop.kill('SIGKILL')).toMatchObject({ signal: 'SIGKILL' });
      await working;
    }
    await using last = await ShopProcess.open({ storage: place.setting });
    await load.assertThere(last.client);
    expect(
      await last.client.as('load').post('/products', { sku: 'after', title: 'After', priceCents: 1 }),
    ).toMatchObject({ status: 201 });
  });
}
