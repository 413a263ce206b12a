/**
 * A storage that is unavailable for a time. The answers of the shop are tested on memory alone,
 * because they do not depend on the storage; then a Postgres server is killed.
 */
import { describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { MemoryProvider } from '@kvent/key-value-storage';
import {
  storageError,
  type Address,
  type Batch,
  type CommitResult,
  type ReadResult,
} from '@kvent/key-value-storage/provider';
import { PostgresServer } from '../postgres/server.js';
import { until } from '../postgres/until.js';
import { Load } from './load.js';
import { openShop } from './shop.js';
import { sharedStorages } from './storages.js';

class UnreliableProvider extends MemoryProvider {
  state: 'available' | 'unavailable' | 'losing answers' = 'available';
  /** Loses the answers of commits that write to this state alone. @default all */
  losesAnswersOf: string | undefined;

  override async read(addresses: readonly Address[]): Promise<ReadResult> {
    if (this.state === 'unavailable') throw unavailable();
    return await super.read(addresses);
  }
  override async commit(batches: readonly Batch[]): Promise<readonly CommitResult[]> {
    if (this.state === 'unavailable') throw unavailable();
    const results = await super.commit(batches);
    const isLost = (batch: Batch | undefined): boolean =>
      this.losesAnswersOf === undefined ||
      batch?.changes.some(({ address }) => address.entity === this.losesAnswersOf) === true;
    if (this.state === 'available') return results;
    const error = storageError(
      'STORAGE_OUTCOME_UNKNOWN',
      'The connection to postgres://user:hunter2@db was closed.',
      {},
      { effect: 'unknown' },
    );
    return results.map((result, index) => (isLost(batches[index]) ? { outcome: 'failed', error } : result));
  }
}
const unavailable = () =>
  storageError('STORAGE_UNAVAILABLE', 'postgres://user:hunter2@db is not reachable.', {});

describe.each(['express', 'fastify'] as const)('While the storage is unavailable, on %s', (http) => {
  it('the shop sends 503 with Retry-After, and nothing of the address of the storage', async () => {
    const provider = new UnreliableProvider();
    await using shop = await openShop({ openProvider: () => provider }, { http });
    const acme = shop.client.as('acme');
    provider.state = 'unavailable';
    for (const answer of [
      await acme.get('/products/mug'),
      await acme.post('/stock/mug/receipts', { quantity: 1 }),
    ]) {
      expect(answer).toMatchObject({ status: 503, body: { code: 'STORAGE_UNAVAILABLE', retryable: true } });
      expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
      expect(answer.text).not.toContain('hunter2');
    }
    expect(await shop.client.get('/health')).toMatchObject({
      status: 503,
      body: { status: 'error', code: 'STORAGE_UNAVAILABLE' },
    });
    expect(await shop.client.get('/')).toMatchObject({ status: 200 });
    provider.state = 'available';
    expect(await shop.client.get('/health')).toMatchObject({ status: 200, body: { status: 'ok' } });
    expect(await acme.get('/products/mug')).toMatchObject({ status: 200 });
  });

  it('a write with a lost answer is 504, not a failure', async () => {
    const provider = new UnreliableProvider();
    await using shop = await openShop({ openProvider: () => provider }, { http });
    const acme = shop.client.as('acme');
    provider.state = 'losing answers';
    const answer = await acme.post('/products', { sku: 'new', title: 'New', priceCents: 1 });
    expect(answer).toMatchObject({ status: 504, body: { code: 'STORAGE_OUTCOME_UNKNOWN' } });
    expect(answer.text).not.toContain('hunter2');
    provider.state = 'available';
    expect(await acme.get('/products/new')).toMatchObject({ status: 200 });
  });

  it('goods whose receipt is repeated with its key after a lost answer are counted once', async () => {
    const provider = new UnreliableProvider();
    await using shop = await openShop({ openProvider: () => provider }, { http });
    const acme = shop.client.as('acme');
    await acme.post('/stock/mug/receipts', { quantity: 1 });
    const before = (await acme.get('/stock/mug')).body as { onHand: number; version: number };
    const receive = async () =>
      await acme.post('/stock/mug/receipts', { quantity: 5 }, { 'Idempotency-Key': 'r-1' });
    provider.losesAnswersOf = 'last-movement';
    provider.state = 'losing answers';
    expect(await receive()).toMatchObject({ status: 504, body: { code: 'STORAGE_OUTCOME_UNKNOWN' } });
    provider.state = 'available';
    const counted = { onHand: before.onHand + 5, version: before.version + 1 };
    expect(await receive()).toMatchObject({ status: 201, body: counted });
    expect(await receive()).toMatchObject({ status: 201, body: counted });
    expect((await acme.get('/stock/mug')).body).toMatchObject(counted);
  });
});

if (sharedStorages.some(({ name }) => name === 'postgres'))
  describe('When the Postgres server is killed under load and started again', () => {
    it('the shop sends 503 or 504, recovers without a restart, and every acknowledged write is stored', async () => {
      await using server = await PostgresServer.create();
      await using shop = await openShop(
        { openProvider: () => new PostgresProvider({ url: server.url(), schema: 'storefront' }) },
        { http: 'fastify' },
      );
      const load = new Load();
      await load.prepare(shop.client);
      const working = load.writeTo(shop.client);
      await load.reached(150);
      await server.kill();
      expect(await shop.client.get('/health')).toMatchObject({
        status: 503,
        body: { status: 'error', code: 'STORAGE_UNAVAILABLE' },
      });
      await until('a writer was refused', () => load.refusals.has('503 STORAGE_UNAVAILABLE'));
      await server.start();
      await load.reached(load.written + 150);
      load.stop();
      await working;
      await load.assertAllWritten(shop.client);
      expect([...load.refusals].filter((refusal) => !expectedRefusals.includes(refusal))).toEqual([]);
      expect(await shop.client.get('/health')).toMatchObject({ status: 200, body: { status: 'ok' } });
    });
  });

/** A 409 is a price change that had too many conflicts. It changed nothing. */
const expectedRefusals = ['503 STORAGE_UNAVAILABLE', '504 STORAGE_OUTCOME_UNKNOWN', '409 STORAGE_CONFLICT'];
