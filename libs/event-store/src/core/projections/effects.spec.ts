/** What the functions of a handler may return, and until when a handler may ask for changes. */
import { describe, expect, it } from '@jest/globals';
import type { KeyValueStorage } from '@kvent/key-value-storage';
import { appended, given } from '../../testing/index.js';
import { On } from './class-handlers.js';
import { Projection, projectionFrom } from './projection-class.js';
import { defineProjection, type ProjectionContext } from './projection-definition.js';
import { DaySales, Orders, placed } from './spec-support.js';

const sales = { orders: 1, cents: 5 };
const rejecting = async (): Promise<never> => await Promise.reject(new Error('too late'));
const monday = [appended(Orders, 'o-1', placed('monday', 5))];
const options = {
  streams: [Orders],
  into: DaySales,
  key: () => 'monday',
  initial: () => sales,
  evolve: () => sales,
};

describe('A projection', () => {
  it.each([
    ['key', 'defineProjection ("sales"): key'],
    ['initial', 'change: initial'],
    ['evolve', 'The change of the entry "monday"'],
  ])('is refused with an asynchronous %s, whose promise would be the value', async (name, what) => {
    const projection = defineProjection('sales', { ...options, [name]: rejecting });
    await given(projection, monday).thenThrows(`${what} must not be asynchronous`);
    // an unhandled rejection is reported in this turn, and fails the test
    await new Promise(setImmediate);
  });

  it('refuses a change that a handler asks for after the commit, because it would be lost', async () => {
    let late: Promise<void> | undefined;
    let release = (): void => undefined;
    const committed = new Promise<void>((resolve) => (release = resolve));
    @Projection('late', { streams: [Orders] })
    class Late {
      constructor(private readonly storage: KeyValueStorage) {}
      @On(Orders, 'placed')
      placed(_event: object, { change }: ProjectionContext): void {
        const store = this.storage.store(DaySales);
        change(store, 'monday', () => sales, { initial: sales });
        late = committed.then(() => change(store, 'tuesday', () => sales, { initial: sales }));
        late.catch(() => undefined);
      }
    }
    await given((storage) => projectionFrom(new Late(storage)), monday).then(DaySales, [['monday', sales]]);
    release();
    await expect(late).rejects.toMatchObject({
      code: 'INVALID_STATE',
      message: expect.stringContaining(`'late' has changed "tuesday" after it had ended`),
    });
  });
});
