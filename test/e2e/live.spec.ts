/** The live price and stock of a product, as server-sent events. */
import { expect, it } from '@jest/globals';
import type { Client } from './client.js';
import { onEachStorage } from './shop.js';

interface ShownEvent {
  readonly id: string;
  readonly data: unknown;
}

/** The events of a stream, one by one. */
async function* eventsOf(response: Response): AsyncGenerator<ShownEvent, undefined> {
  let text = '';
  for await (const chunk of (response.body as ReadableStream<Uint8Array>).pipeThrough(
    new TextDecoderStream(),
  )) {
    text += chunk;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n');
      text = text.slice(end + 2);
      const field = (name: string): string | undefined =>
        lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      const [id, data] = [field('id'), field('data')];
      if (id !== undefined && data !== undefined) yield { id, data: JSON.parse(data) as unknown };
    }
  }
  return undefined;
}

onEachStorage('Live products', (shop) => {
  async function sell(): Promise<Client> {
    const client = await shop.createTenant();
    await client.post('/products', { sku: 'mug', title: 'Mug', priceCents: 850 });
    return client;
  }
  async function follow(client: Client, headers: Record<string, string> = {}) {
    const stop = new AbortController();
    const response = await client.open('/products/mug/live', { signal: stop.signal, headers });
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    const events = eventsOf(response);
    const next = async (): Promise<ShownEvent | undefined> => {
      const { value } = await events.next();
      return value;
    };
    return { next, stop };
  }

  it('are shown with each change of the price and of the stock, until the client leaves', async () => {
    const client = await sell();
    const { next, stop } = await follow(client);
    expect((await next())?.data).toEqual({ priceCents: 850, available: 0 });
    await client.post('/products/mug/price-changes', { by: 50 });
    expect((await next())?.data).toEqual({ priceCents: 900, available: 0 });
    await client.post('/stock/mug/receipts', { quantity: 7 });
    expect((await next())?.data).toEqual({ priceCents: 900, available: 7 });
    stop.abort();
  });

  it('begin with the first change if the client has the current state', async () => {
    const client = await sell();
    const first = await follow(client);
    const id = (await first.next())?.id ?? '';
    first.stop.abort();
    const second = await follow(client, { 'Last-Event-ID': id });
    await client.post('/products/mug/price-changes', { by: 1 });
    expect((await second.next())?.data).toEqual({ priceCents: 851, available: 0 });
    second.stop.abort();
  });

  it('are of one tenant, and 404 for a product that does not exist', async () => {
    const client = await sell();
    const { next, stop } = await follow(client);
    await next();
    const other = await sell();
    await other.post('/products/mug/price-changes', { by: 1 });
    await client.post('/products/mug/price-changes', { by: 2 });
    expect((await next())?.data).toEqual({ priceCents: 852, available: 0 });
    stop.abort();
    expect(await client.get('/products/cup/live')).toMatchObject({
      status: 404,
      body: { code: 'KEY_NOT_FOUND' },
    });
  });

  it('end with the shop, which does not wait for them', async () => {
    const { next } = await follow(await sell());
    await next();
    const restarted = shop.restart();
    expect(await next()).toBeUndefined();
    await restarted;
  });
});
