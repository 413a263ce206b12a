/** Calls that need many statements leave connections of the pool to others. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { DataSource } from 'typeorm';
import { asAdmin, freshDatabase, roleWithoutBypass, type FreshDatabase } from '../postgres/databases.js';
import { addressOf, opened, write } from './rows.js';

const poolSize = 4;
const tenants = Array.from({ length: 40 }, (_, index) => `tenant:t${index}`);

let database: FreshDatabase;
let role: string;
beforeAll(async () => {
  database = await freshDatabase();
  role = `sharing_${new URL(database.url).pathname.slice(-12)}`;
});
afterAll(async () => {
  await asAdmin(
    database.url,
    async (client) => await client.query(`drop owned by ${role} cascade; drop role ${role}`),
  );
  await database[Symbol.asyncDispose]();
});

interface CountedPool {
  readonly waitingCount: number;
  connect(): Promise<unknown>;
}

/**
 * A data source, and the most calls that were waiting at once for one of its connections, also for
 * one that is free: `pg` gives it a moment later.
 */
async function countingSource(url: string) {
  const source = await new DataSource({ type: 'postgres', url, extra: { max: poolSize } }).initialize();
  const pool = (source.driver as unknown as { readonly master: CountedPool }).master;
  const connect = pool.connect.bind(pool);
  let most = 0;
  pool.connect = async () => {
    const connected = connect();
    most = Math.max(most, pool.waitingCount);
    return await connected;
  };
  return {
    source,
    waitedMost: async (work: () => Promise<unknown>): Promise<number> => {
      most = 0;
      await work();
      return most;
    },
  };
}

describe('A call of many statements', () => {
  it('leaves connections to others: scans of many ranges', async () => {
    const { source, waitedMost } = await countingSource(database.url);
    try {
      const provider = new PostgresProvider({ dataSource: source });
      await opened(provider, async () => {
        for (const tenant of tenants) await write(provider, 'key', '"value"', tenant);
        const ranges = tenants.map((tenant) => {
          const { key: _, ...space } = addressOf('key', tenant);
          return { ...space, limit: 10 };
        });
        const scan = async () => await provider.scan(ranges);
        expect(await waitedMost(scan)).toBeLessThan(poolSize);
        expect((await scan()).map(({ rows }) => rows.length)).toEqual(tenants.map(() => 1));
      });
    } finally {
      await source.destroy();
    }
  });

  it('leaves connections to others: reads of many tenants under row-level security', async () => {
    const url = await roleWithoutBypass(database.url, role, 'secured');
    const { source, waitedMost } = await countingSource(url);
    try {
      const provider = new PostgresProvider({
        dataSource: source,
        schema: 'secured',
        rowLevelSecurity: true,
      });
      await opened(provider, async () => {
        for (const tenant of tenants) await write(provider, 'key', '"value"', tenant);
        const read = async () => await provider.read(tenants.map((tenant) => addressOf('key', tenant)));
        expect(await waitedMost(read)).toBeLessThan(poolSize);
        expect((await read()).rows.every((row) => row !== undefined)).toBe(true);
      });
    } finally {
      await source.destroy();
    }
  });
});
