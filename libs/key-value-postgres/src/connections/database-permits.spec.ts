import { describe, expect, it } from '@jest/globals';
import { DatabasePermits } from './database-permits.js';

/** Calls that run until they are ended, and the databases of those that run, in order. */
function callsOf(permits: number) {
  const pool = new DatabasePermits(permits);
  const running: string[] = [];
  const ends: { readonly database: string; readonly end: () => void }[] = [];
  return {
    running,
    call: (database: string) =>
      void pool.run(database, async () => {
        running.push(database);
        await new Promise<void>((resolve) => ends.push({ database, end: resolve }));
      }),
    end: (of: string) => {
      const index = ends.findIndex(({ database }) => database === of);
      ends.splice(index, 1)[0]?.end();
    },
    settled: async () => await new Promise<void>((resolve) => setImmediate(resolve)),
  };
}

describe('Permits of databases', () => {
  it('are at most half for one database, so that others get theirs at once', async () => {
    const { running, call, settled } = callsOf(4);
    for (const database of ['a', 'a', 'a', 'a', 'a', 'b', 'c', 'd']) call(database);
    await settled();
    expect(running).toEqual(['a', 'a', 'b', 'c']);
  });

  it('go in turn to the databases that wait, however many calls of one wait', async () => {
    const { running, call, end, settled } = callsOf(1);
    for (const database of ['a', 'a', 'a', 'b', 'b', 'c']) call(database);
    for (const database of ['a', 'a', 'b', 'c', 'a', 'b']) {
      await settled();
      end(database);
    }
    await settled();
    expect(running).toEqual(['a', 'a', 'b', 'c', 'a', 'b']);
  });

  it('come back when the work fails', async () => {
    const pool = new DatabasePermits(1);
    await expect(pool.run('a', async () => await Promise.reject(new Error('failed')))).rejects.toThrow(
      'failed',
    );
    expect(await pool.run('b', async () => await Promise.resolve('done'))).toBe('done');
  });
});
