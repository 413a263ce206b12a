import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client } from 'pg';
import { Cluster } from './cluster.js';
import { asAdmin } from './databases.js';
import type { PostgresServer } from './server.js';
import { until } from './until.js';

const ask = async (server: PostgresServer, sql: string): Promise<Record<string, unknown>[]> =>
  asAdmin(server.url(), async (client) => (await client.query<Record<string, unknown>>(sql)).rows);

/** In order: each test leaves the cluster one server poorer or the same. */
describe('a cluster of three', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.create();
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  it('streams to both standbys, and any one of them is enough', async () => {
    const rows = await ask(
      cluster.primary,
      'select application_name name, state, sync_state sync from pg_stat_replication order by 1',
    );
    expect(rows).toEqual([
      { name: 's1', state: 'streaming', sync: 'quorum' },
      { name: 's2', state: 'streaming', sync: 'quorum' },
    ]);
    await ask(cluster.primary, 'create table kept (number int)');
    await (cluster.standbys[0] as PostgresServer).stop('immediate');
    await ask(cluster.primary, 'insert into kept values (-1)');
    await (cluster.standbys[0] as PostgresServer).start();
  });

  it('acknowledges nothing that only one machine has', async () => {
    await Promise.all(cluster.standbys.map((standby) => standby.stop('immediate')));
    const warnings: string[] = [];
    const inserted = asAdmin(cluster.primary.url(), (client) => {
      client.on('notice', ({ message }) => warnings.push(String(message)));
      return client.query('insert into kept values (-2)');
    });
    const cancelled =
      "select count(pg_cancel_backend(pid))::int as count from pg_stat_activity where wait_event = 'SyncRep'";
    await until(
      'the commit waits for a standby',
      async () => (await ask(cluster.primary, cancelled))[0]?.['count'] === 1,
    );
    await inserted;
    expect(warnings).toEqual([expect.stringContaining('canceling wait for synchronous replication')]);
    await Promise.all(cluster.standbys.map((standby) => standby.start()));
  });

  it('has every acknowledged row after its primary was killed and the most advanced standby took over', async () => {
    const old = cluster.primary;
    const [late, advanced] = cluster.standbys as readonly [PostgresServer, PostgresServer];
    await late.stop('immediate');
    const writers = Array.from({ length: 4 }, (_, writer) =>
      writeUntilCut(old, writer, async (count) => count === 100 && cluster.killPrimary()),
    );
    const acknowledged = (await Promise.all(writers)).flat();
    expect(acknowledged.length).toBeGreaterThanOrEqual(100);
    await late.start();
    // it may not have got the table yet: one standby is enough for a commit
    await expect(ask(late, 'create table other ()')).rejects.toThrow('read-only');

    const primary = await cluster.promoteTheMostAdvanced();
    expect(primary).toBe(advanced);
    expect(cluster.standbys).toEqual([late]);
    const found = new Set((await ask(primary, 'select number from kept')).map(({ number }) => number));
    expect(acknowledged.filter((number) => !found.has(number))).toEqual([]);
    await ask(primary, 'insert into kept values (-3)'); // the other standby acknowledges it
  });
});

/** Numbers that the server has acknowledged before it was gone. */
async function writeUntilCut(
  server: PostgresServer,
  writer: number,
  onAcknowledged: (count: number) => Promise<unknown>,
): Promise<readonly number[]> {
  const client = new Client({ connectionString: server.url() });
  client.on('error', () => undefined); // the connection is cut
  await client.connect();
  const acknowledged: number[] = [];
  try {
    for (let number = writer; ; number += 4) {
      await client.query('insert into kept values ($1)', [number]);
      acknowledged.push(number);
      await onAcknowledged(acknowledged.length);
    }
  } catch {
    return acknowledged;
  }
}
