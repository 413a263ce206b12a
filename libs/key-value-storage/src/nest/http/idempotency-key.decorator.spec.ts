import { describe, expect, it } from '@jest/globals';
import { idempotentCallOf } from './idempotency-key.decorator.js';

describe('@IdempotencyKey', () => {
  const request = {
    method: 'POST',
    url: '/orders?x=1',
    headers: { 'idempotency-key': ' k1 ' },
    body: { cart: 'c1' },
  };
  const contentOf = async (more: object = {}) => (await idempotentCallOf({ ...request, ...more }))?.content;

  it('returns the key, with method, path, query, body and principal as the content of the call', async () => {
    expect(await idempotentCallOf({ ...request, user: { sub: 'ada', iat: 1 } })).toMatchObject({
      key: 'k1',
      content: { method: 'POST', path: '/orders', query: 'x=1', body: { cart: 'c1' }, principal: 'ada' },
    });
    expect(await contentOf()).toEqual({
      method: 'POST',
      path: '/orders',
      query: 'x=1',
      body: { cart: 'c1' },
      principal: null,
    });
  });

  it.each([
    ['the currency of a query', { url: '/orders?currency=EUR' }, { url: '/orders?currency=USD' }],
    ['a missing query', { url: '/orders' }, { url: '/orders?currency=USD' }],
    ['the user', { user: { id: 1 } }, { user: { id: 2 } }],
    ['a missing user', { user: { id: 1 } }, {}],
    ['request.auth', { auth: { sub: 'ada' } }, { auth: { sub: 'bob' } }],
    ['the method', { method: 'PUT' }, { method: 'POST' }],
  ])('distinguishes two requests by %s', async (_, first, second) => {
    expect(await contentOf(first)).not.toEqual(await contentOf(second));
  });

  it('does not distinguish two tokens of one user', async () => {
    const of = async (exp: number) => await contentOf({ user: { sub: 'ada', exp } });
    expect(await of(1)).toEqual(await of(2));
  });

  it('takes the principal from the function of the route', async () => {
    const principal = ({ headers }: typeof request & { headers: { key?: string } }) => headers.key;
    const call = await idempotentCallOf(
      { ...request, headers: { ...request.headers, key: 'a' } },
      { principal },
    );
    expect(call?.content).toMatchObject({ principal: 'a' });
  });

  it.each([
    ['request.user', { user: { uid: 'ann' } }],
    ['request.user', { user: { id: { bytes: 'ann' } } }],
    ['request.user', { user: {}, auth: null }],
    ['request.user', { user: true }],
    ['request.auth', { user: null, auth: { payload: { sub: 'ann' } } }],
  ])('refuses a user without a name that it knows: %s of %j', async (where, more) => {
    await expect(idempotentCallOf({ ...request, ...more })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      status: 500,
      message: expect.stringMatching(new RegExp(`${where} has none of sub.*option \`principal\``)),
    });
    const { content } = (await idempotentCallOf({ ...request, ...more }, { principal: () => 'ann' })) ?? {};
    expect(content).toMatchObject({ principal: 'ann' });
  });

  it('takes a request without a user, or with an empty one, as one without a principal', async () => {
    for (const more of [{}, { user: null, auth: undefined }, { user: false, auth: '' }])
      expect(await contentOf(more)).toMatchObject({ principal: null });
    expect(await contentOf({ user: {}, auth: { sub: 'ann' } })).toMatchObject({ principal: 'ann' });
  });

  it.each([new Map([['id', 1]]), NaN, true])(
    'refuses a principal that is no text or number: %p',
    async (by) => {
      await expect(idempotentCallOf(request, { principal: () => by as never })).rejects.toMatchObject({
        code: 'INVALID_OPTION',
        message: expect.stringContaining('principal must return a text, a number or nothing'),
      });
    },
  );

  it('refuses a promise of a principal: as content, all promises are equal', async () => {
    const principal = async () => await Promise.reject(new Error('no directory'));
    await expect(idempotentCallOf(request, { principal: principal as never })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringContaining('principal must not be asynchronous'),
    });
  });

  it('refuses a request without a key, unless it is optional', async () => {
    await expect(idempotentCallOf({ ...request, headers: {} })).rejects.toThrow(
      expect.objectContaining({ code: 'IDEMPOTENCY_KEY_REQUIRED' }),
    );
    expect(await idempotentCallOf({ ...request, headers: {} }, { required: false })).toBeUndefined();
  });
});
