/**
 * Crashes of the server, its connections and the network, while fifty callers work. Every
 * acknowledged write must be stored once, no batch may be incomplete, callers must receive the
 * right codes, and the open storage must recover.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { openStorage, type KeyValueStorage } from '@kvent/key-value-storage/core';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { asAdmin } from '../postgres/databases.js';
import { Proxy } from '../postgres/proxy.js';
import { PostgresServer } from '../postgres/server.js';
import { Ledger, valueMarks } from './postgres-ledger.js';
import { seededRandom, seedOfRun, withSeed } from './seeded-random.js';

const rounds = 3;
let databases = 0;

describe('a storage on Postgres with fifty callers', () => {
  let server: PostgresServer;
  let proxy: Proxy;
  let storage: KeyValueStorage;
  let ledger: Ledger;
  beforeAll(async () => {
    server = await PostgresServer.create();
  });
  afterAll(() => server[Symbol.asyncDispose]());
  beforeEach(async () => {
    proxy = await Proxy.before(server);
    const name = `faults_${(databases += 1)}`;
    await asAdmin(server.url(), (client) => client.query(`create database ${name}`));
    storage = await openStorage(
      new PostgresProvider({ url: proxy.url(server.url(name)), requestTimeoutMs: 10_000 }),
    );
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
