import { expect, it } from '@jest/globals';
import { ambientTransactions } from './ambient-transactions.js';

it('An asynchronous `current` is refused: every call would be outside the transaction of its caller', async () => {
  const current = await ambientTransactions({
    transactions: { current: (async () => await Promise.reject(new Error('unhandled'))) as never },
    dataSource: {} as never,
    warn: () => undefined,
  });
  expect(() => current?.()).toThrow(
    expect.objectContaining({
      code: 'INVALID_OPTION',
      message: expect.stringContaining('transactions.current must not be asynchronous'),
    }),
  );
});
