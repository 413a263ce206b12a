import { describe, expect, it } from '@jest/globals';
import { storageError } from '../base/errors.js';
import { HeldLocks } from './held-locks.js';
import { KeyedLock } from './keyed-lock.js';
import { retryDefaults } from './retry-on-conflict.js';
import { retryWithLock } from './retry-with-lock.js';

const conflict = (): Error =>
  storageError('STORAGE_CONFLICT', 'taken', { key: 'a', expected: '1', actual: '2', check: 'own' });
const policy = { ...retryDefaults, delayMsMax: 60_000, budgetMs: 60_000 };

function isFree(locks: KeyedLock, lock: string): boolean {
  const free = locks.tryAcquire(lock);
  if (free) locks.release(lock);
  return free;
}

/** A caller whose attempts conflicted at these rows, and who waited after each. */
async function afterConflicts(locks: KeyedLock, ...rows: readonly string[]): Promise<HeldLocks> {
  const held = new HeldLocks(locks, policy);
  for (const row of rows) {
    held.onConflict(row);
    await held.wait(0);
  }
  return held;
}

describe('the locks that one caller holds', () => {
  it('include that of the row at which its commit conflicted', async () => {
    const locks = new KeyedLock();
    const order: string[] = [];
    const first = await afterConflicts(locks, 'hot');
    const second = afterConflicts(locks, 'hot').then((held) => {
      order.push('second');
      held.releaseAll();
    });
    order.push('first');
    first.releaseAll();
    await second;
    expect([order, isFree(locks, 'hot')]).toEqual([['first', 'second'], true]);
  });

  it('include one such lock at a time', async () => {
    const locks = new KeyedLock();
    const held = await afterConflicts(locks, 'a', 'b');
    expect([isFree(locks, 'a'), isFree(locks, 'b')]).toEqual([true, false]);
    held.releaseAll();
    expect(isFree(locks, 'b')).toBe(true);
  });

  it('bring a hundred concurrent calls through one contended row in about two attempts each', async () => {
    const locks = new KeyedLock();
    let [version, attempts] = [0, 0];
    const commit = async (row: number): Promise<void> =>
      await retryWithLock(locks, `own-${row}`, { ...policy, attempts: 200 }, async (onConflict) => {
        attempts += 1;
        const seen = version;
        await new Promise((resolve) => setImmediate(resolve));
        if (version !== seen) {
          onConflict('hot');
          throw conflict();
        }
        version += 1;
      });
    await Promise.all(Array.from({ length: 100 }, (_, row) => commit(row)));
    expect(version).toBe(100);
    expect(attempts).toBeLessThan(250);
  });
});
