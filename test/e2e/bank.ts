import type { BankTransport } from '../../apps/storefront/src/orders/bank.js';
import type { Answer, Client } from './client.js';

/** A bank that takes slow cards when the test lets it, and breaks down when it is told. */
export class BankUnderTest {
  #state: 'up' | 'down' | 'silent' = 'up';
  #arrived: () => void = () => undefined;
  #release: () => void = () => undefined;

  readonly transport: BankTransport = async (call, card) => {
    if (card === 'slow')
      await new Promise<void>((resolve) => {
        this.#release = resolve;
        this.#arrived();
      });
    if (this.#state === 'down') throw new Error('postgres://bank:hunter2@vault');
    const answer = await call();
    if (this.#state === 'silent') throw new Error('postgres://bank:hunter2@vault');
    return answer;
  };

  async while<R>(state: 'down' | 'silent', work: () => Promise<R>): Promise<R> {
    this.#state = state;
    try {
      return await work();
    } finally {
      this.#state = 'up';
    }
  }

  /** Pays with a slow card, and does something while the bank thinks. */
  async during<R>(client: Client, order: string, work: () => Promise<R>): Promise<readonly [Answer, R]> {
    const arrived = new Promise<void>((resolve) => (this.#arrived = resolve));
    const paying = client.post(`/orders/${order}/payment`, { card: 'slow' });
    // a payment that is answered before it gets to the bank would be waited for until the test is
    // over
    await Promise.race([
      arrived,
      paying.then(({ status, text }) => {
        throw new Error(`The bank was not asked: ${status} ${text}`);
      }),
    ]);
    try {
      const done = await work();
      this.#release();
      return [await paying, done];
    } finally {
      this.#release();
    }
  }
}
