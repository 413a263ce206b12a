import type { BankTransport } from '../../apps/storefront/src/orders/bank.js';
import type { Answer, Client } from './client.js';

/** A bank for tests: it charges a slow card when the test continues, and fails on demand. */
export class BankUnderTest {
  #state: 'up' | 'down' | 'silent' = 'up';
  #onArrival: () => void = () => undefined;
  #release: () => void = () => undefined;

  readonly transport: BankTransport = async (call, card) => {
    if (card === 'slow')
      await new Promise<void>((resolve) => {
        this.#release = resolve;
        this.#onArrival();
      });
    if (this.#state === 'down') throw new Error('postgres://bank:hunter2@vault');
    const answer = await call();
    if (this.#state === 'silent') throw new Error('postgres://bank:hunter2@vault');
    return answer;
  };

  async whileBankIs<R>(state: 'down' | 'silent', work: () => Promise<R>): Promise<R> {
    this.#state = state;
    try {
      return await work();
    } finally {
      this.#state = 'up';
    }
  }

  /** Pays with a slow card, and runs `work` before the bank answers. */
  async duringPayment<R>(
    client: Client,
    order: string,
    work: () => Promise<R>,
  ): Promise<readonly [Answer, R]> {
    const arrived = new Promise<void>((resolve) => (this.#onArrival = resolve));
    const payment = client.post(`/orders/${order}/payment`, { card: 'slow' });
    // Without this, a payment that fails before it reaches the bank would block the test.
    await Promise.race([
      arrived,
      payment.then(({ status, text }) => {
        throw new Error(`The payment did not reach the bank: ${status} ${text}`);
      }),
    ]);
    try {
      const result = await work();
      this.#release();
      return [await payment, result];
    } finally {
      this.#release();
    }
  }
}
