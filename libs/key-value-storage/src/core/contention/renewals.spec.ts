/**
 * One renewal for all who read a row at the same time, and none for who comes late with what was
 * read before it.
 */
import { describe, expect, it } from '@jest/globals';
import { Renewals, type Renewed } from './renewals.js';

const version = '7';
/** A renewal at this time of the provider's clock. */
const at = (time: number) => async (): Promise<Renewed | undefined> =>
  await Promise.resolve({ at: time, expiresAt: time + 1_000 });

describe('the renewals of a process', () => {
  it('are one for three hundred readers of one row at once, and all get its answer', async () => {
    const renewals = new Renewals();
    let count = 0;
    let answer = (_: Renewed): void => undefined;
    const answered = new Promise<Renewed>((resolve) => (answer = resolve));
    const readers = Array.from(
      { length: 300 },
      async () =>
        await renewals.once('row', version, 1, async () => {
          count += 1;
          return await answered;
        }),
    );
    answer({ at: 1, expiresAt: 5_000 });
    expect(new Set(await Promise.all(readers))).toEqual(new Set([5_000]));
    expect(count).toBe(1);
  });

  it('are remembered for a reader that read the row before, and for no other, and for no other version', async () => {
    const renewals = new Renewals();
    expect(await renewals.once('row', version, 10, at(12))).toBe(1_012);
    expect(await renewals.once('row', version, 12, at(13))).toBe(1_012);
    expect(await renewals.once('other', version, 12, at(14))).toBe(1_014);
    expect(await renewals.once('row', version, 13, at(15))).toBe(1_015);
    expect(await renewals.once('row', '8', 13, at(16))).toBe(1_016);
  });

  it('that came to nothing are tried again by the next reader', async () => {
    const renewals = new Renewals();
    expect(
      await renewals.once('row', version, 1, async () => await Promise.resolve(undefined)),
    ).toBeUndefined();
    expect(await renewals.once('row', version, 1, at(1))).toBe(1_001);
  });

  it('are remembered of a thousand rows at most', async () => {
    const renewals = new Renewals();
    for (let row = 0; row <= 1_000; row += 1) await renewals.once(`row-${row}`, version, 1, at(1));
    expect(await renewals.once('row-1000', version, 1, at(2))).toBe(1_001);
    expect(await renewals.once('row-0', version, 1, at(2))).toBe(1_002);
  });
});
