import { describe, expect, it } from '@jest/globals';
import { storageError } from '../base/errors.js';
import { lost, HeldLocks } from './held-locks.js';
import { retryWithLock } from './retry-with-lock.js';
import { retryDefaults } from './retry-on-conflict.js';
import type { StorageAccess } from '../commit/commit.js';
import { KeyedLock } from './keyed-lock.js';

const conflictAt = (turn: string): Error =>
  lost(
    storageError('STORAGE_CONFLICT', 'taken', { key: 'a', expected: '1', actual: '2', check: 'own' }),
    turn,
  );
const patient = { ...retryDefaults, delayMsMax: 60_000, budgetMs: 60_000 };

/**
 * A caller who lost at these rows, one after the other, and waits for the next attempt each time.
 */
async function beaten(locks: KeyedLock, ...rows: readonly string[]): Promise<HeldLocks> {
  const own = new HeldLocks(locks, patient);
  for (const row of rows) {
    await own.noting(async () => await Promise.reject(conflictAt(row))).catch(() => undefined);
    await own.wait(0);
  }
  return own;
}

describe('the locks of one caller', () => {
  it('are at the row where it was beaten, also where that is not the row it works at', async () => {
    const locks = new KeyedLock();
    const order: string[] = [];
    const first = await beaten(locks, 'hot');
    const second = beaten(locks, 'hot').then((own) => {
      order.push('second');
      own.leave();
    });
    order.push('first');
    first.leave();
    await second;
    expect([order, locks.isHeld('hot')]).toEqual([['first', 'second'], false]);
  });

  it('are at one such row at a time: nobody is kept waiting by who waits elsewhere', async () => {
    const locks = new KeyedLock();
    const own = await beaten(locks, 'a', 'b');
    expect([locks.isHeld('a'), locks.isHeld('b')]).toEqual([false, true]);
    own.leave();
    expect(locks.isHeld('b')).toBe(false);
  });

  it('bring a hundred rivals at one row, who each work at a row of their own, through in about two attempts each', async () => {
    const locks = new KeyedLock();
    const access = { locks } as StorageAccess;
    let [version, attempts] = [0, 0];
    const commit = async (row: number): Promise<void> =>
      await retryWithLock(access, `own-${row}`, { ...patient, attempts: 200 }, async () => {
        attempts += 1;
        const seen = version;
        await new Promise((resolve) => setImmediate(resolve));
        if (version !== seen) throw conflictAt('hot');
        version += 1;
      });
    await Promise.all(Array.from({ length: 100 }, (_, row) => commit(row)));
    expect(version).toBe(100);
    expect(attempts).toBeLessThan(250);
  });
});
