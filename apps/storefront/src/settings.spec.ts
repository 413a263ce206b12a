import { describe, expect, it } from '@jest/globals';
import { settingsFrom } from './settings.js';
import { SetupError } from './setup-error.js';

describe('The settings', () => {
  it('are those of the demo, if nothing is said', () => {
    expect(settingsFrom({}, [])).toEqual({ port: 3000, storage: undefined, bank: 'reliable', fresh: false, logAll: false });
    expect(settingsFrom({ PORT: '', LOG: '' }, [])).toMatchObject({ port: 3000, logAll: false });
  });

  it('are what is said', () => {
    const environment = { PORT: '0', STOREFRONT_STORAGE: 'memory', STOREFRONT_BANK: 'unreliable', LOG: 'all' };
    expect(settingsFrom(environment, ['--fresh'])).toEqual({ port: 0, storage: 'memory', bank: 'unreliable', fresh: true, logAll: true });
  });

  it.each(['http', '-1', '65536', '3000.5', ' 80'])('are not a port %p', (PORT) => {
    expect(() => settingsFrom({ PORT }, [])).toThrow(new SetupError(`PORT is a number from 0 (any free port) to 65535; it is "${PORT}".`));
  });

  it('are not what nobody knows: a misspelt word is no default', () => {
    expect(() => settingsFrom({}, ['--frehs'])).toThrow(new SetupError('There is no argument --frehs; there is --fresh.'));
    expect(() => settingsFrom({ LOG: 'debug' }, [])).toThrow(new SetupError('LOG is "all" or not set; it is "debug".'));
    expect(() => settingsFrom({ STOREFRONT_BANK: 'bad' }, [])).toThrow(
      new SetupError('STOREFRONT_BANK is "unreliable" or not set; it is "bad".'),
    );
  });
});
