/**
 * A storage that is not there for a while: what the shop says, on memory alone, for that stands
 * above the storage; and a server that is killed.
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
import { shared } from './storages.js';

class Unreachable extends MemoryProvider {
  state: 'there' | 'gone' | 'silent after writing' = 'there';

  override async read(addresses: readonly Address[]): Promise<ReadResult> {
    if (this.state === 'gone') throw unavailable();
    return await super.read(addresses);
  }
  override async commit(batches: readonly Batch[]): Promise<readonly CommitResult[]> {
    if (this.state === 'gone') throw unavailable();
    const results = await super.commit(batches);
    if (this.state === 'there') return results;
    const error = storageError(
      'STORAGE_OUTCOME_UNKNOWN',
      'postgres://user:hunter2@db went away.',
      {},
      { effect: 'unknown' },
    );
    return results.map(() => ({ outcome: 'failed', error }));
  }
}
const unavailable = () => storageError('STORAGE_UNAVAILABLE', 'postgres://user:hunter2@db is not there.', {});

describe('While the storage is not there', () => {
  it('the shop says so, says when to come back, and tells nothing of what it stands on', async () => {
    const provider = new Unreachable();
    await using shop = await openShop({ create: () => provider });
    const acme = shop.client.as('acme');
    provider.state = 'gone';
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
      body: { status: 'error', storage: 'memory', code: 'STORAGE_UNAVAILABLE' },
    });
    expect(await shop.client.get('/')).toMatchObject({ status: 200 });
    provider.state = 'there';
    expect(await shop.client.get('/health')).toMatchObject({ status: 200, body: { status: 'ok' } });
    expect(await acme.get('/products/mug')).toMatchObject({ status: 200 });
  });

  it('a write whose answer was lost is not said to have failed', async () => {
    const provider = new Unreachable();
    await using shop = await openShop({ create: () => provider });
    const acme = shop.client.as('acme');
    provider.state = 'silent after writing';
    const answer = await acme.post('/products', { sku: 'new', title: 'New', priceCents: 1 });
    expect(answer).toMatchObject({ status: 504, body: { code: 'STORAGE_OUTCOME_UNKNOWN' } });
    expect(answer.text).not.toContain('hunter2');
    provider.state = 'there';
    expect(await acme.get('/products/new')).toMatchObject({ status: 200 });
  });
});

if (shared.some(({ name }) => name === 'postgres'))
  describe('When the Postgres server is killed under load and started again', () => {
    it('the shop says 503 or 504, goes on by itself, and every write that it answered is there', async () => {
      await using server = await PostgresServer.create();
      await using shop = await openShop({
        create: () => new PostgresProvider({ url: server.url(), schema: 'storefront' }),
      });
      const load = new Load();
      await load.begin(shop.client);
      const working = load.work(shop.client);
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
      await load.assertThere(shop.client);
      expect([...load.refusals].filter((refusal) => !coded.includes(refusal))).toEqual([]);
      expect(await shop.client.get('/health')).toMatchObject({ status: 200, body: { status: 'ok' } });
    });
  });

/** A 409 is a price change that met too many rivals; it has changed nothing. */
const coded = ['503 STORAGE_UNAVAILABLE', '504 STORAGE_OUTCOME_UNKNOWN', '409 STORAGE_CONFLICT'];
