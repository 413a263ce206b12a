import { describe, expect, it } from '@jest/globals';
import { idempotentCallOf } from './idempotency-key.decorator.js';

describe('@IdempotencyKey', () => {
  const request = { method: 'POST', url: '/orders?x=1', headers: { 'idempotency-key': ' k1 ' }, body: { cart: 'c1' } };

  it('gives the key, and method, path and body as what a repeat is compared by', () => {
    expect(idempotentCallOf(request, true)).toEqual({ key: 'k1', content: { method: 'POST', path: '/orders', body: { cart: 'c1' } } });
  });

  it('refuses a request without one, unless it may do without', () => {
    expect(() => idempotentCallOf({ ...request, headers: {} }, true)).toThrow(
      expect.objectContaining({ code: 'IDEMPOTENCY_KEY_REQUIRED' }),
    );
    expect(idempotentCallOf({ ...request, headers: {} }, false)).toBeUndefined();
  });
});
