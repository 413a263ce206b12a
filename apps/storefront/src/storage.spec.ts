import { describe, expect, it } from '@jest/globals';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { SetupError } from './setup-error.js';
import { chooseStorage } from './storage.js';

describe('The storage', () => {
  it('is by default a JSON file in the directory of the demo', async () => {
    for (const setting of [undefined, '']) {
      const storage = chooseStorage(setting);
      expect(storage).toMatchObject({
        directory: './data/storefront',
        description: 'JSON file ./data/storefront (durable, one process)',
      });
      expect(storage.isOwn).toBe(true);
      expect((await storage.create()).features).toMatchObject({ durable: 'fsync', shared: false });
    }
  });

  it('is memory with the setting `memory`', async () => {
    const storage = chooseStorage('memory');
    expect(storage.directory).toBeUndefined();
    expect(storage.isOwn).toBeUndefined();
    expect((await storage.create()).features).toMatchObject({ durable: false });
  });

  it('is the directory of the setting, a path or an address', () => {
    const absolute = resolve('elsewhere');
    const settings = [
      './elsewhere',
      'file:./elsewhere',
      absolute,
      `file:${absolute}`,
      pathToFileURL(absolute).href,
    ];
    expect(settings.map((setting) => resolve(chooseStorage(setting).directory ?? ''))).toEqual(
      settings.map(() => absolute),
    );
    expect(chooseStorage('./elsewhere').isOwn).toBe(false);
    expect(chooseStorage(resolve('data/storefront')).isOwn).toBe(true);
  });

  it.each([
    ['postgres://shop:secret@db.example:5433/shop', 'shop@db.example:5433/shop'],
    ['postgresql://localhost/shop', 'localhost/shop'],
    ['postgres://shop:s%2Fecret@[::1]/shop?password=secret&sslmode=require', 'shop@[::1]/shop'],
    ['postgres://shop:secret@/shop?host=/var/run/postgresql', 'shop@/shop?host=/var/run/postgresql'],
    ['POSTGRES://shop:secret@localhost/shop?application_name=mine', 'shop@localhost/shop'],
  ])('is the Postgres database of the setting, described without its password: %s', async (url, place) => {
    const storage = chooseStorage(url);
    expect(storage.description).toBe(`Postgres ${place} (durable, any number of processes)`);
    expect(storage).toMatchObject({ isOwn: true });
    expect(storage.directory).toBeUndefined();
    expect(await storage.create()).toMatchObject({
      name: 'Postgres table "storefront"."row"',
      features: { durable: 'fsync', shared: true },
    });
    expect(storage.whenUnavailable?.('the reason').message).toMatch(
      /^Postgres .* cannot be opened: the reason\. (?!.*secret)/,
    );
  });

  it.each([
    'redis://user:secret@localhost',
    'mysql://user:secret@localhost/shop',
    'file:',
    'file://elsewhere/data',
    'postgres:',
    'postgres://user:secret@localhost',
    'postgres://user:secret@localhost:port/shop',
    'postgres:///shop?password=secret',
    'postgres://shop:secret@/shop',
  ])('cannot be %s, and the error contains no password', (setting) => {
    expect(() => chooseStorage(setting)).toThrow(SetupError);
    expect(() => chooseStorage(setting)).toThrow(/^STOREFRONT_STORAGE must be (?!.*secret)/);
  });
});
