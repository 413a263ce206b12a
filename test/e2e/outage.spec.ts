/** A storage that is not there for a while. On memory alone: what is looked at stands above the storage. */
import { describe, expect, it } from '@jest/globals';
import { MemoryProvider } from '@kvent/key-value-storage';
import { storageError, type Address, type Batch, type CommitResult, type ReadResult } from '@kvent/key-value-storage/core';
import { openShop } from './shop.js';

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
    const error = storageError('STORAGE_OUTCOME_UNKNOWN', 'postgres://user:hunter2@db went away.', {}, { effect: 'unknown' });
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
    for (const answer of [await acme.get('/products/mug'), await acme.post('/stock/mug/receipts', { quantity: 1 })]) {
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
