import { describe, expect, test } from '@jest/globals';
import { limits } from './limits.js';
import { assertOptions, assertTtl, resolveOptions } from './options.js';

describe('options', () => {
  test('what is left out, or undefined, takes the default; what is given counts', () => {
    const defaults = { a: 1, b: 'x' };
    expect(
      resolveOptions<{ a?: number; b?: string; c?: boolean }, typeof defaults>(
        'It',
        { b: 'y', c: true },
        defaults,
        ['c'],
      ),
    ).toEqual({
      a: 1,
      b: 'y',
      c: true,
    });
    expect(
      resolveOptions<{ a?: number | undefined }, { a: number }>('It', { a: undefined }, { a: 1 }),
    ).toEqual({ a: 1 });
    expect(defaults).toEqual({ a: 1, b: 'x' });
  });

  test('a name that does not exist is refused with those that do', () => {
    expect(() => resolveOptions<{ a?: number }, { a: number }>('It', { aa: 1 } as object, { a: 1 })).toThrow(
      /It has no option 'aa'; it takes a\.$/,
    );
    expect(() => assertOptions('It', { toString: 1 }, ['a'])).toThrow(/'toString'/);
  });

  test.each([[null], [5], ['text'], [true]])('%p is no options', (given) => {
    expect(() => assertOptions('It', given, ['a'])).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION' }),
    );
  });

  test('no options at all are fine', () => {
    expect(() => assertOptions('It', undefined, [])).not.toThrow();
  });
});

test('a time to live is a whole number of milliseconds above 0, up to a thousand years', () => {
  for (const good of [1, 60_000, limits.ttlMsMax]) expect(() => assertTtl('It', good)).not.toThrow();
  for (const bad of [0, -1, 0.5, limits.ttlMsMax + 1, Number.NaN, Infinity, '5', null, undefined, 5n])
    expect(() => assertTtl('It', bad)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
});
