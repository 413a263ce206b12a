import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { limits } from '../../../core/base/limits.js';
import { databaseOf, directoryOf } from './file-name.js';

const database = fc
  .oneof(
    fc.string({ unit: 'binary', minLength: 1 }),
    fc.string({ unit: fc.constantFrom(...'aA.:/\\ %~cCoOnN1-_\0é\u212a'), minLength: 1, maxLength: 8 }),
    fc.constantFrom(
      'con',
      'CON',
      'con:x',
      'nul.txt',
      'com1',
      'lpt9:',
      '.',
      '..',
      '../x',
      ':',
      '::',
      'a:',
      ':a',
      'a.',
      'a ',
      '~',
      'lock',
      '.lock.json',
    ),
  )
  .filter((name) => Buffer.byteLength(name) <= limits.databaseBytesMax);

describe('the directory of a database', () => {
  it('keeps ordinary names readable', () => {
    expect(directoryOf('tenant:acme')).toBe('tenant.acme');
    expect(directoryOf('shared')).toBe('shared');
    expect(directoryOf('tenant:Acme Ltd.')).toBe('tenant.%41cme%20%4ctd%2e');
  });

  it('leads back to the database', () => {
    fc.assert(fc.property(database, (name) => databaseOf(directoryOf(name)) === name));
  });

  it('is never the same for two databases, even if case is folded', () => {
    fc.assert(
      fc.property(database, database, (a, b) => {
        fc.pre(a !== b);
        return directoryOf(a).toLowerCase() !== directoryOf(b).toLowerCase();
      }),
      { numRuns: 2_000 },
    );
  });

  it('is a name for every file system: inside the root, no device, no dot at an end, at most 255 bytes', () => {
    fc.assert(
      fc.property(database, (name) => {
        const directory = directoryOf(name);
        expect(directory).toMatch(/^[a-z0-9_%~-]([a-z0-9_%~.-]*[a-z0-9_%~-])?$/);
        expect(directory).not.toMatch(/^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)/);
        expect(directory.length).toBeLessThanOrEqual(255);
      }),
      { numRuns: 2_000 },
    );
  });

  it('fits the longest names that are allowed', () => {
    for (const character of ['Z', '/', '\u{1f375}']) {
      const longest = character.repeat(limits.databaseBytesMax / Buffer.byteLength(character));
      expect(directoryOf(longest).length).toBeLessThanOrEqual(255);
      expect(databaseOf(directoryOf(longest))).toBe(longest);
    }
  });

  it('accepts no directory name that it would not write itself', () => {
    for (const name of [
      'Shared',
      '.kvent.json',
      'lost+found',
      'a.',
      'con',
      '%61',
      '%C3%A9',
      '~aa',
      '~',
      '',
      'node_modules ',
    ]) {
      expect(databaseOf(name)).toBeUndefined();
    }
  });

  it('refuses names that a disk cannot distinguish', () => {
    expect(() => directoryOf('')).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
    expect(() => directoryOf('a\ud800')).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });
});
