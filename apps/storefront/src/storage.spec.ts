import { describe, expect, it } from '@jest/globals';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { SetupError } from './setup-error.js';
import { chooseStorage, isOwnDirectory } from './storage.js';

describe('The storage', () => {
  it('is a JSON file in a directory of its own, if nothing is said', () => {
    for (const given of [undefined, '']) {
      const storage = chooseStorage(given);
      expect(storage).toMatchObject({ directory: './data/storefront', description: 'JSON file ./data/storefront (durable, one process)' });
      expect(isOwnDirectory(storage)).toBe(true);
      expect(storage.create().features).toMatchObject({ durable: 'fsync', shared: false });
    }
  });

  it('is memory, if that is said', () => {
    const storage = chooseStorage('memory');
    expect(storage.directory).toBeUndefined();
    expect(isOwnDirectory(storage)).toBe(false);
    expect(storage.create().features).toMatchObject({ durable: false });
  });

  it('is the directory that is said, as a path or as an address', () => {
    const absolute = resolve('elsewhere');
    const given = ['./elsewhere', 'file:./elsewhere', absolute, `file:${absolute}`, pathToFileURL(absolute).href];
    expect(given.map((setting) => resolve(chooseStorage(setting).directory ?? ''))).toEqual(given.map(() => absolute));
    expect(isOwnDirectory(chooseStorage('./elsewhere'))).toBe(false);
    expect(isOwnDirectory(chooseStorage(resolve('data/storefront')))).toBe(true);
  });

  it.each(['postgres://user:secret@localhost/shop', 'redis://localhost', 'file:', 'file://elsewhere/data'])(
    'is not %s, and no password is repeated',
    (given) => {
      expect(() => chooseStorage(given)).toThrow(SetupError);
      expect(() => chooseStorage(given)).toThrow(/^STOREFRONT_STORAGE is (?!.*secret)/);
    },
  );
});
