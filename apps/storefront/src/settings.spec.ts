import { describe, expect, it } from '@jest/globals';
import { settingsFrom } from './settings.js';
import { SetupError } from './setup-error.js';

describe('The settings', () => {
  it('are those of the demo, if nothing is said', () => {
    const demo = {
      port: 3000,
      storage: undefined,
      bank: 'reliable',
      slowCardMs: 3_000,
      fresh: false,
      logAll: false,
    };
    expect(settingsFrom({}, [])).toEqual(demo);
    expect(settingsFrom({ PORT: '', STOREFRONT_SLOW_CARD_MS: '', LOG: '' }, [])).toEqual(demo);
  });

  it('are what is said', () => {
    const bank = { STOREFRONT_BANK: 'unreliable', STOREFRONT_SLOW_CARD_MS: '3600000' };
    const said = {
      port: 0,
      storage: 'memory',
      bank: 'unreliable',
      slowCardMs: 3_600_000,
      fresh: true,
      logAll: true,
    };
    expect(
      settingsFrom({ PORT: '0', STOREFRONT_STORAGE: 'memory', ...bank, LOG: 'all' }, ['--fresh']),
    ).toEqual(said);
  });

  it.each(['http', '-1', '65536', '3000.5', ' 80'])('are not a port %p', (PORT) => {
    expect(() => settingsFrom({ PORT }, [])).toThrow(
      new SetupError(`PORT is a number from 0 (any free port) to 65535; it is "${PORT}".`),
    );
  });

  it.each(['3s', '-1', '3600001', '0.5', ' 80'])('are not a time for a slow card %p', (given) => {
    expect(() => settingsFrom({ STOREFRONT_SLOW_CARD_MS: given }, [])).toThrow(
      new SetupError(
        `STOREFRONT_SLOW_CARD_MS is a number of milliseconds from 0 to 3600000 (an hour); it is "${given}".`,
      ),
    );
  });

  it('are not what nobody knows: a misspelt word is no default', () => {
    expect(() => settingsFrom({}, ['--frehs'])).toThrow(
      new SetupError('There is no argument --frehs; there is --fresh.'),
    );
    expect(() => settingsFrom({ LOG: 'debug' }, [])).toThrow(
      new SetupError('LOG is "all" or not set; it is "debug".'),
    );
    expect(() => settingsFrom({ STOREFRONT_BANK: 'bad' }, [])).toThrow(
      new SetupError('STOREFRONT_BANK is "unreliable" or not set; it is "bad".'),
    );
  });
});
