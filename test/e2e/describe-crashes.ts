/** However the shop ends, every write with a 2xx answer is stored when it starts again. */
import { describe, expect, it } from '@jest/globals';
import { Load } from './load.js';
import { ShopProcess } from './shop-process.js';
import { durableStorages, type StorageUnderTest } from './storages.js';

const frameworks = ['express', 'fastify'] as const;

export function describeCrashes(): void {
  for (const storage of durableStorages.filter((each) => !each.shared))
    describe(`Every acknowledged write, on ${storage.name},`, () => survives(storage));
}

function survives(storage: StorageUnderTest): void {
  it.each(frameworks)('is stored after a SIGTERM under load, which ends the shop on %s', async (http) => {
    await using place = await storage.create();
    const load = new Load();
    const options = { storage: place.setting, env: { STOREFRONT_HTTP: http } };
    await using first = await ShopProcess.open(options);
    await load.prepare(first.client);
    const working = load.writeTo(first.client);
    await load.reached(200);
    expect(await first.kill('SIGTERM')).toMatchObject({ code: 0, stderr: '' });
    await working;
    await using second = await ShopProcess.open(options);
    await load.assertAllWritten(second.client);
  });

  it('is stored after three kill -9 in a row, each under load', async () => {
    await using place = await storage.create();
    const load = new Load();
    for (let round = 1; round <= 3; round += 1) {
      const http = round === 2 ? 'fastify' : 'express';
      await using shop = await ShopProcess.open({ storage: place.setting, env: { STOREFRONT_HTTP: http } });
      if (round === 1) await load.prepare(shop.client);
      else await load.assertAllWritten(shop.client);
      const working = load.writeTo(shop.client);
      await load.reached(round * 150);
      expect(await shop.kill('SIGKILL')).toMatchObject({ signal: 'SIGKILL' });
      await working;
    }
    await using last = await ShopProcess.open({ storage: place.setting });
    await load.assertAllWritten(last.client);
    expect(
      await last.client.as('load').post('/products', { sku: 'after', title: 'After', priceCents: 1 }),
    ).toMatchObject({ status: 201 });
  });
}
