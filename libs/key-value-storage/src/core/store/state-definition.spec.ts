import { describe, expect, it } from '@jest/globals';
import { defineState, definitionOf, State } from './state-definition.js';

const invalid = (message: RegExp) =>
  expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringMatching(message) as unknown });

describe('a state definition', () => {
  it('is found on its class, and not on a subclass that has none of its own', () => {
    @State('animal')
    class Animal {
      name!: string;
    }
    class Dog extends Animal {}
    expect(definitionOf(Animal)).toMatchObject({
      name: 'animal',
      prototype: Animal.prototype,
      container: 'state:state',
      entity: 'animal',
    });
    expect(() => definitionOf(Dog)).toThrow(invalid(/The class Dog has no @State/));
  });

  it('lives where its name and container say, whatever the characters', () => {
    expect(definitionOf(defineState('a b', { container: '!x' }))).toMatchObject({
      entity: 'a"20b',
      container: 'state:"21x',
    });
  });

  it.each([
    ['a blank name', () => defineState(' '), /a text that is not blank/],
    [
      'a misspelt option',
      () => defineState('a', { ttl: 5 } as object),
      /has no option 'ttl'; it takes schema, schemaVersion/,
    ],
    ['a TTL of zero', () => defineState('a', { ttlMs: 0 }), /ttlMs must be a whole number.*got 0/],
    ['a TTL that is no number', () => defineState('a', { ttlMs: NaN }), /got NaN/],
    [
      'an unknown expiry',
      () => defineState('a', { expiry: 'rolling' } as object),
      /expiry must be 'absolute' or 'sliding'; got "rolling"/,
    ],
    [
      'an unknown scope',
      () => defineState('a', { scope: 'user' } as object),
      /scope must be 'tenant' or 'shared'/,
    ],
    [
      'a version without the step to it',
      () => defineState('a', { schemaVersion: 3, upcast: { 1: (old) => old as unknown } }),
      /needs a function upcast for version 2; got 1/,
    ],
    [
      'a step that goes beyond the version',
      () => defineState('a', { upcast: { 1: (old) => old as unknown } }),
      /goes beyond schemaVersion 1/,
    ],
    [
      'a version that is no whole number',
      () => defineState('a', { schemaVersion: 1.5 }),
      /whole number from 1/,
    ],
    ['an empty container', () => defineState('a', { container: '' }), /not empty/],
    [
      'what is neither a class nor a definition',
      () => definitionOf({ name: 'a' }),
      /a class with @State, or a definition of defineState/,
    ],
  ])('refuses %s, and says what is allowed', (_, define, message) => {
    expect(define).toThrow(invalid(message));
  });

  it('refuses a name over the limit by the name of the limit', () => {
    expect(() => defineState('x'.repeat(513))).toThrow(
      expect.objectContaining({ code: 'LIMIT_EXCEEDED', limit: 'entityBytesMax', given: 513, allowed: 512 }),
    );
    expect(definitionOf(defineState('x'.repeat(512))).entity).toHaveLength(512);
  });
});
