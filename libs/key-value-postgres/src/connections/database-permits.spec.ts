import { describe, expect, it } from '@jest/globals';
import { DatabasePermits } from './database-permits.js';

const patient = { waitMs: 600_000, late: () => new Error('late') };

const settled = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve));

/** Calls that run until they are ended, and the databases of those that run, in order. */
function callsOf(permits: number) {
  const pool = new DatabasePermits(permits);
  const running: string[] = [];
  const ends: { readonly database: string; readonly end: () => void }[] = [];
  return {
    running,
    call: (database: string) =>
      void pool.run(database, patient, async () => {
        running.push(database);
        await new Promise<void>((resolve) => ends.push({ database, end: resolve }));
      }),
    end: (of: string) => {
      const index = ends.findIndex(({ database }) => database === of);
      ends.splice(index, 1)[0]?.end();
    },
    endAll: async () => {
      for (; ends.length > 0; await settled()) ends.shift()?.end();
    },
  };
}

describe('Permits of databases', () => {
  it('are at most half for one database, so that others get theirs at once', async () => {
    const { running, call, endAll } = callsOf(4);
    for (const database of ['a', 'a', 'a', 'a', 'a', 'b', 'c', 'd']) call(database);
    await settled();
    expect(running).toEqual(['a', 'a', 'b', 'c']);
    await endAll();
  });

  it('go in turn to the databases that wait, however many calls of one wait', async () => {
    const { running, call, end, endAll } = callsOf(1);
    for (const database of ['a', 'a', 'a', 'b', 'b', 'c']) call(database);
    for (const database of ['a', 'a', 'b', 'c', 'a', 'b']) {
      await settled();
      end(database);
    }
    await settled();
    expect(running).toEqual(['a', 'a', 'b', 'c', 'a', 'b']);
    await endAll();
  });

  it('come back when the work fails', async () => {
    const pool = new DatabasePermits(1);
    await expect(
      pool.run('a', patient, async () => await Promise.reject(new Error('failed'))),
    ).rejects.toThrow('failed');
    expect(await pool.run('b', patient, async () => await Promise.resolve('done'))).toBe('done');
  });

  it('are waited for no longer than the caller says, and those behind it get theirs', async () => {
    const pool = new DatabasePermits(1);
    let end = (): void => undefined;
    const first = pool.run('a', patient, async () => await new Promise<void>((resolve) => (end = resolve)));
    const late = { waitMs: 1, late: () => new Error('late') };
    let isBegun = false;
    const second = pool.run('a', late, async () => await Promise.resolve((isBegun = true)));
    const third = pool.run('a', patient, async () => await Promise.resolve('done'));
    await expect(second).rejects.toThrow('late');
    end();
    await first;
    expect(await third).toBe('done');
    expect(isBegun).toBe(false);
    expect(await pool.run('b', late, async () => await Promise.resolve('done'))).toBe('done');
  });
});
