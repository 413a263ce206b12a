import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { hidePasswords, looksLikeAddress } from './hide-passwords.js';

describe('a password in a text', () => {
  it.each([
    ['an address', 'connect to postgres://u:s3cret@db:5432/shop failed'],
    ['an address of another scheme, in capitals', 'MYSQL://u:s3cret@db'],
    ['an address with @ and / in its password', 'postgres://u:s3c@/ret@db/shop'],
    ['an address in quotes', `no such storage: "'postgres://u:s3cret@db/shop'"`],
    ['a password with a quote', `postgres://u:s3'cret@db/shop`],
    ['an address that was cut at a blank', `unknown command 'postgres://u:s3cret'`],
    ['a percent-encoded address', 'postgres%3A%2F%2Fu%3As3cret%40db%2Fshop'],
    ['a query', 'postgresql://db/shop?user=u&password=s3cret&sslmode=require'],
    ['a percent-encoded query', 'db%3Fpassword%3Ds3cret'],
    ['a setting of libpq', "host=db password = 's3 cret' user=u"],
    ['a variable', 'PGPASSWORD=s3cret psql'],
    ['JSON', '{"password":"s3cret","user":"u"}'],
    ['an inspected object', "{ password: 's3cret', host: 'db' }"],
  ])('is hidden in %s', (_, text) => {
    const shown = hidePasswords(text);
    expect(shown).not.toMatch(/s3|cret/);
    expect(shown).toContain('***');
  });

  it.each([
    'postgres://user:password@host:port/database',
    'https://localhost/carts/1?mail=a@b.example',
    'postgres://u@db:5432/shop',
    'file:///var/lib/shop',
    'password authentication failed for user "u"',
    'PGPASSWORD, or ~/.pgpass',
  ])('where there is none, nothing is changed: %s', (text) => {
    expect(hidePasswords(text)).toBe(text);
  });

  it('takes time in proportion to the text', () => {
    for (const part of [
      '://',
      '://a:',
      '://a:b@',
      'pass',
      'password=',
      `password='`,
      '%3a%2f%2f',
      ':@',
      'password   ',
    ]) {
      // quadratic work would take hours
      expect(hidePasswords(part.repeat(100_000)).length).toBeGreaterThan(0);
    }
  });

  it('is hidden whatever it is made of', () => {
    const password = fc.string({
      minLength: 4,
      maxLength: 20,
      unit: fc.constantFrom(...'abcXYZ0189@/:?#%&=+!$'),
    });
    fc.assert(
      fc.property(password, (secret) => {
        fc.pre(secret.trim() === secret);
        expect(hidePasswords(`postgres://u:${secret}@db/shop`)).toBe('postgres://u:***@db/shop');
      }),
    );
  });
});

describe('a path', () => {
  it.each([
    '"postgres://u:pw@h/db"',
    ' ./data',
    './data ',
    "'./data'",
    'u:pw@h/db',
    'u:p/w@h/db',
    'postgres:u:pw@h',
    'host=h password=pw',
    'postgres%3A%2F%2Fu',
    'https://h/db',
  ])('looks like an address: %j', (path) => {
    expect(looksLikeAddress(path)).toBe(true);
  });

  it.each([
    './data',
    '/var/lib/my shop/data',
    'C:\\data',
    'C:/a@b',
    './a@b',
    'a:b',
    "O'Brien",
    '.',
    '~/data',
    'data:2026',
  ])('does not: %j', (path) => {
    expect(looksLikeAddress(path)).toBe(false);
  });
});
