import { describe, expect, it } from '@jest/globals';
import { parseLocation, createProvider } from './location.js';
import { UsageError } from './usage-error.js';

describe('a place', () => {
  it.each([
    ['./data', './data'],
    ['/var/lib/shop', '/var/lib/shop'],
    ['C:\\data', 'C:\\data'],
    ['file:./data', './data'],
    ['file:///var/lib/my%20shop', '/var/lib/my shop'],
  ])('is a directory: %s', (given, directory) => {
    expect(parseLocation(given)).toEqual({ kind: 'directory', directory, name: directory });
  });

  it.each([
    ['postgres://u:s3cret@db:5433/shop', 'postgres://u@db:5433/shop'],
    ['postgresql://db/shop?password=s3cret&sslmode=require', 'postgresql://db/shop'],
    ['postgres://u:p%40ss@[::1]/shop', 'postgres://u@[::1]/shop'],
    ['postgres:///shop', 'postgres:///shop'],
    ['postgres://u:s3cret@/shop?host=/var/run/postgresql', 'postgres://u@/shop?host=/var/run/postgresql'],
    [
      'postgres:///shop?host=/var/run/postgresql&password=s3cret',
      'postgres:///shop?host=/var/run/postgresql',
    ],
    ['postgres://u:s3cret@%2Fvar%2Frun/shop', 'postgres://u@%2Fvar%2Frun/shop'],
    ['POSTGRES://u:s3cret@db/shop', 'postgres://u@db/shop'],
    ['pg://u:s3cret@db/shop', 'pg://u@db/shop'],
    ['socket:/var/run/postgresql?db=shop&user=u&password=s3cret', 'socket:/var/run/postgresql?db=shop'],
    ['socket://u:s3cret@/var/run/postgresql?db=shop', 'socket://u@/var/run/postgresql?db=shop'],
    ['SOCKET:///var/run/postgresql', 'socket:///var/run/postgresql'],
  ])('is a Postgres database, named without its password: %s', (url, name) => {
    expect(parseLocation(url)).toEqual({ kind: 'postgres', url, name });
  });

  it.each([
    '',
    'mysql://u:s3cret@db/shop',
    'postgres://',
    'postgres:shop',
    'pg:shop',
    'socket:',
    'socket:/',
    'socket:shop?password=s3cret',
    '"socket:/var/run?db=shop&password=s3cret"',
    ' pg://u:s3cret@db/shop',
    'postgres://u:s3cret@db:port/shop',
    'postgres://u:s3cret@',
    'file:',
    'file://other/host/%',
  ])('is nothing else: %s', (given) => {
    expect(() => parseLocation(given)).toThrow(UsageError);
    expect(() => parseLocation(given)).toThrow(/^(?!.*s3cret)/);
  });

  it('that is read from is never made', async () => {
    const place = parseLocation('./there-is-none');
    const options = { waitMs: 0, warn: () => undefined };
    const source = await createProvider(place, { ...options, role: 'source' });
    await expect(source.open()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  });
});
