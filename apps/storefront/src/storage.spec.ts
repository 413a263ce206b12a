import { describe, expect, it } from '@jest/globals';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { SetupError } from './setup-error.js';
import { chooseStorage } from './storage.js';

describe('The storage', () => {
  it('is a JSON file in a directory of its own, if nothing is said', async () => {
    for (const given of [undefined, '']) {
      const storage = chooseStorage(given);
      expect(storage).toMatchObject({
        directory: './data/storefront',
        description: 'JSON file ./data/storefront (durable, one process)',
      });
      expect(storage.isOwn).toBe(true);
      expect((await storage.create()).features).toMatchObject({ durable: 'fsync', shared: false });
    }
  });

  it('is memory, if that is said', async () => {
    const storage = chooseStorage('memory');
    expect(storage.directory).toBeUndefined();
    expect(storage.isOwn).toBeUndefined();
    expect((await storage.create()).features).toMatchObject({ durable: false });
  });

  it('is the directory that is said, as a path or as an address', () => {
    const absolute = resolve('elsewhere');
    const given = [
      './elsewhere',
      'file:./elsewhere',
      absolute,
      `file:${absolute}`,
      pathToFileURL(absolute).href,
    ];
    expect(given.map((setting) => resolve(chooseStorage(setting).directory ?? ''))).toEqual(
      given.map(() => absolute),
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
  ])('is the Postgres database that is said, told without its password: %s', async (given, place) => {
    const storage = chooseStorage(given);
    expect(storage.description).toBe(`Postgres ${place} (durable, any number of processes)`);
    expect(storage).toMatchObject({ isOwn: true });
    expect(storage.directory).toBeUndefined();
    expect(await storage.create()).toMatchObject({
      name: 'Postgres table "storefront"."row"',
      features: { durable: 'fsync', shared: true },
    });
    expect(storage.whenUnavailable?.('why').message).toMatch(
      /^Postgres .* cannot be opened: why\. (?!.*secret)/,
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
  ])('is not %s, and no password is repeated', (given) => {
    expect(() => chooseStorage(given)).toThrow(SetupError);
    expect(() => chooseStorage(given)).toThrow(/^STOREFRONT_STORAGE is (?!.*secret)/);
  });
});
