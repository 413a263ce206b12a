import { describe, expect, it } from '@jest/globals';
import { settingsFrom } from './settings.js';
import { SetupError } from './setup-error.js';

describe('The settings', () => {
  it('are those of the demo by default', () => {
    const demo = {
      port: 3000,
      host: '127.0.0.1',
      http: 'express',
      adminKey: undefined,
      storage: undefined,
      bank: 'reliable',
      slowCardMs: 3_000,
      mails: undefined,
      fresh: false,
      logAll: false,
    };
    expect(settingsFrom({}, [])).toEqual(demo);
    expect(
      settingsFrom({ PORT: '', STOREFRONT_SLOW_CARD_MS: '', STOREFRONT_MAILS: '', LOG: '' }, []),
    ).toEqual(demo);
  });

  it('come from environment variables and arguments', () => {
    const access = { HOST: '0.0.0.0', STOREFRONT_AUTH: 'keys', STOREFRONT_ADMIN_KEY: 'k'.repeat(20) };
    const bank = {
      STOREFRONT_BANK: 'unreliable',
      STOREFRONT_SLOW_CARD_MS: '3600000',
      STOREFRONT_HTTP: 'fastify',
      STOREFRONT_MAILS: './mails',
    };
    const expected = {
      port: 0,
      host: '0.0.0.0',
      http: 'fastify',
      adminKey: 'k'.repeat(20),
      storage: 'memory',
      bank: 'unreliable',
      slowCardMs: 3_600_000,
      mails: './mails',
      fresh: true,
      logAll: true,
    };
    expect(
      settingsFrom({ PORT: '0', STOREFRONT_STORAGE: 'memory', ...bank, ...access, LOG: 'all' }, ['--fresh']),
    ).toEqual(expected);
  });

  it.each([
    [{ HOST: 'a b' }, 'HOST'],
    [{ STOREFRONT_HTTP: 'koa' }, 'STOREFRONT_HTTP'],
    [{ STOREFRONT_AUTH: 'yes' }, 'STOREFRONT_AUTH'],
    [{ STOREFRONT_AUTH: 'keys' }, 'STOREFRONT_ADMIN_KEY'],
    [{ STOREFRONT_AUTH: 'keys', STOREFRONT_ADMIN_KEY: 'k'.repeat(19) }, 'STOREFRONT_ADMIN_KEY'],
  ])('refuse %p, which names %s', (environment, name) => {
    expect(() => settingsFrom(environment, [])).toThrow(new RegExp(name));
  });

  it.each(['http', '-1', '65536', '3000.5', ' 80'])('cannot be the port %p', (PORT) => {
    expect(() => settingsFrom({ PORT }, [])).toThrow(
      new SetupError(`PORT must be a number from 0 (any free port) to 65535; got "${PORT}".`),
    );
  });

  it.each(['3s', '-1', '3600001', '0.5', ' 80'])('cannot be %p for a slow card', (setting) => {
    expect(() => settingsFrom({ STOREFRONT_SLOW_CARD_MS: setting }, [])).toThrow(
      new SetupError(
        `STOREFRONT_SLOW_CARD_MS must be a number of milliseconds from 0 to 3600000 (an hour); got "${setting}".`,
      ),
    );
  });

  it('are refused when they are misspelt', () => {
    expect(() => settingsFrom({}, ['--frehs'])).toThrow(
      new SetupError('The only argument is --fresh; got --frehs.'),
    );
    expect(() => settingsFrom({ LOG: 'debug' }, [])).toThrow(
      new SetupError('LOG must be "all" or not set; got "debug".'),
    );
    expect(() => settingsFrom({ STOREFRONT_BANK: 'bad' }, [])).toThrow(
      new SetupError('STOREFRONT_BANK must be "unreliable" or not set; got "bad".'),
    );
  });
});
