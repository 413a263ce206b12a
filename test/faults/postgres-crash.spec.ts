/**
 * Crashes of the server, its connections and the network, while fifty callers work. Every
 * acknowledged write must be stored once, no batch may be incomplete, callers must receive the
 * right codes, and the open storage must recover. A dump of another server is restored here too.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { EventStore, ProjectionRunner } from '@kvent/event-store/core';
import { openStorage, type KeyValueStorage } from '@kvent/key-value-storage/core';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { asAdmin, freshDatabase } from '../postgres/databases.js';
import { Proxy } from '../postgres/proxy.js';
import { PostgresServer } from '../postgres/server.js';
import { until } from '../postgres/until.js';
import { Ledger, valueMarks } from './postgres-ledger.js';
import { compareTotals, openAt, runnerOptions, Sales, sell, totalsByProduct } from './projections-work.js';
import { dumpAndRestore, nextTransaction, passTransactions } from './restored-dump.js';
import { seededRandom, seedOfRun, withSeed } from './seeded-random.js';

const rounds = 3;
let databases = 0;

let server: PostgresServer;
beforeAll(async () => {
  server = await PostgresServer.create();
});
afterAll(() => server[Symbol.asyncDispose]());

describe('a storage on Postgres with fifty callers', () => {
  let proxy: Proxy;
  let storage: KeyValueStorage;
  let ledger: Ledger;
  beforeEach(async () => {
    proxy = await Proxy.before(server);
    const url = proxy.url(await newDatabase());
    storage = await openStorage(new PostgresProvider({ url, requestTimeoutMs: 10_000 }));
    ledger = new Ledger(storage);
  });
  afterEach(async () => {
    await ledger[Symbol.asyncDispose]();
    await storage[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
  });

  /** Repeats a fault at random moments while the callers work. */
  async function survive(fault: () => Promise<void>): Promise<void> {
    const seed = seedOfRun();
    await withSeed('The storage did not survive', seed, async () => {
      const random = seededRandom(seed);
      // Until a caller has failed: ending a session between two statements has no effect.
      for (
        let round = 0;
        round < rounds || (ledger.failures.length === 0 && round < 10 * rounds);
        round += 1
      ) {
        await ledger.waitForMore(50 + random.below(100));
        await fault();
      }
      await ledger.waitForMore(100);
      await ledger.verify();
    });
    expect(ledger.failures).not.toEqual([]);
  }

  it('survives kill -9 of the server', async () => {
    await survive(async () => {
      await server.kill();
      await server.start();
    });
  });

  it('survives a restart of the server', async () => {
    await survive(() => server.restart());
  });

  it('survives that an operator ends its sessions', async () => {
    await survive(async () => {
      await asAdmin(server.url(), (client) =>
        client.query(
          "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()",
        ),
      );
    });
  });

  it('survives that the network breaks all connections', async () => {
    await survive(async () => {
      proxy.cut();
      await Promise.resolve();
    });
  });

  it('survives that the network loses answers and requests', async () => {
    await survive(async () => {
      await Promise.all([
        proxy.loseAnswer(valueMarks.alone),
        proxy.loseRequest(valueMarks.together),
        proxy.loseAnswer(valueMarks.together),
      ]);
    });
    expect(ledger.failures.map(({ code }) => code)).toContain('STORAGE_OUTCOME_UNKNOWN');
  });
});

describe('a dump that is restored into another server, whose transactions have lower ids', () => {
  it('has the feed of before: a reader and a projection go on, miss nothing, and have nothing twice', async () => {
    await using source = await freshDatabase();
    const target = await newDatabase();
    const random = seededRandom(seedOfRun());
    const projection = totalsByProduct();
    const read: string[] = [];
    let after: string | undefined;
    let last = '';
    const readOn = async (storage: KeyValueStorage): Promise<void> => {
      const eventStore = new EventStore(storage);
      await until('everything is read', async () => {
        const page = await eventStore.readFeed({ streams: [Sales], tenants: 'all', after });
        for (const { id, position } of page.events) {
          expect(position > last).toBe(true);
          last = position;
          read.push(id);
        }
        after = page.next;
        return page.upToDate && page.heldBackMs === undefined;
      });
    };
    const projectOn = async (storage: KeyValueStorage, expected: number): Promise<void> => {
      const runner = new ProjectionRunner(storage, projection, runnerOptions);
      try {
        await runner.start();
        await runner.whenCaughtUp({ timeoutMs: 600_000 });
        expect(await compareTotals(storage, runner)).toBe(expected);
      } finally {
        await runner.stop();
      }
    };
    {
      await using storage = await openAt(source.url);
      await sell(storage, random, 40);
      await projectOn(storage, 40);
      // what others do on this server moves its horizon, and no event comes
      await passTransactions(source.url, (await nextTransaction(server.url())) + 20_000n);
      await readOn(storage);
      await projectOn(storage, 40);
    }
    await dumpAndRestore(source.url, target);
    {
      await using storage = await openAt(target);
      await sell(storage, random, 40);
      await readOn(storage);
      await projectOn(storage, 80);
    }
    // the base is stored; a dump back has lower ids than the base
    await using again = await freshDatabase();
    await dumpAndRestore(target, again.url);
    await using storage = await openAt(again.url);
    await sell(storage, random, 40);
    await readOn(storage);
    await projectOn(storage, 120);
    expect([read.length, new Set(read).size]).toEqual([120, 120]);
  });
});

async function newDatabase(): Promise<string> {
  const name = `faults_${(databases += 1)}`;
  await asAdmin(server.url(), (client) => client.query(`create database ${name}`));
  return server.url(name);
}
