/**
 * Runs every command of the demo script, as `GET /` returns it, in one shell. What remains after
 * `kill -9`: process.spec.ts.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { reliableTransport, type BankTransport } from '../../apps/storefront/src/orders/bank.js';
import { until } from '../postgres/until.js';
import { bash } from './shell.js';
import { onEachStorage, type ShopUnderTest } from './shop.js';
import { storages } from './storages.js';

interface Step {
  readonly about: string;
  readonly command: string;
  readonly statuses: readonly number[];
}

/**
 * A bank whose slow card takes as long as the script needs, also on a busy machine. `sleep` in the
 * script returns when the payment is in progress; `wait` lets the payment continue.
 */
class SlowBank implements AsyncDisposable {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(): Promise<SlowBank> {
    return new SlowBank(await mkdtemp(join(tmpdir(), 'kvent-demo-')));
  }

  readonly transport: BankTransport = async (call, card) => {
    if (card === 'slow') {
      await writeFile(this.#file('begun'), '');
      await until('the script waits for the slow payment', () => existsSync(this.#file('tried')));
    }
    return await call();
  };

  /** The functions `sleep` and `wait` of the script. */
  get shellFunctions(): string {
    return [
      `sleep() { while [ ! -e '${this.#file('begun')}' ]; do command sleep 0.05; done; }`,
      `wait() { touch '${this.#file('tried')}'; builtin wait; }`,
    ].join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  #file(name: string): string {
    return join(this.#folder, name);
  }
}

let transport: BankTransport = reliableTransport();

const suite = (shop: ShopUnderTest): void => {
  it('runs command by command as written', async () => {
    const { try: steps } = (await shop.client.get('/')).body as { try: Step[] };
    await using bank = await SlowBank.open();
    transport = bank.transport;
    const output = await bash(
      `${bank.shellFunctions}\n${steps.map(({ command }) => `${command}\necho; echo '${separator}'`).join('\n')}`,
    );
    const outputs = output.split(separator).slice(0, steps.length);
    const shown = outputs.map((text) =>
      [...text.matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => Number(status)),
    );
    expect(steps.map(({ about }, index) => [about, shown[index]])).toEqual(
      steps.map(({ about, statuses }) => [about, statuses]),
    );
    for (const [about, expected] of Object.entries(expectedOutputs)) {
      const index = steps.findIndex((step) => step.about === about);
      expect(outputs[index]).toMatch(expected);
    }
  });
};
onEachStorage('The demo script', suite, storages, { bankTransport: (...call) => transport(...call) });

describe('The demo script', () => {
  it('checks most of its commands by their output', () => {
    expect(Object.keys(expectedOutputs).length).toBeGreaterThan(18);
  });
});

const separator = '--- next ---';

/** The outputs that the script announces, besides the statuses. */
const expectedOutputs: Record<string, RegExp> = {
  'a product of a tenant, with its ETag': /^ETag: "\d+-[0-9a-z]+-2"\r$/im,
  '20 concurrent price changes: none is lost': /"priceCents":870/,
  'a request without a tenant is refused': /"code":"TENANT_MISSING"/,
  'a change needs the ETag that the client has read': /"code":"PRECONDITION_REQUIRED"/,
  'with this ETag the change is made': /"priceCents":900/,
  'the same request again: the product has changed since it was read': /"code":"STORAGE_CONFLICT"/,
  'another tenant has another price': /"priceCents":1125/,
  'the first page, with a Link to the next one': /^Link: <\?limit=2&cursor=[^>]+>; rel="next"\r$/im,
  'all products of one moment, as JSON lines': /^\{"sku":"mug",.*\}\n(\{"sku":"[a-z]+",.*\}\n)+$/m,
  'the lines of an export can be imported: stored as they come, and those that are refused are named':
    /^\{"loaded":5,"failed":0,"failures":\[\]\}$/m,
  'a cart; it expires half an hour after the last request': /"expiresAt":"20/,
  'an order: one commit reserves its goods, lists it, and deletes the cart': /^ETag: "v1-[0-9a-z]+-1"\r$/im,
  'the same request again returns the same order': /^Idempotency-Replayed: true\r$/im,
  'a slow card holds the order for three seconds; another request gets 423 with Retry-After':
    /^Retry-After: [1-9]\r$[^]*"code":"SESSION_OPEN_FAILED"[^]*"status":"paid"/im,
  'the events of the order, each with its version, time and correlation id':
    /^\{"items":\[\{"version":1,"type":"placed",.*"recordedAt":"20.*Z","correlationId":"[^"]+"\},\{"version":2,"type":"paid",.*\}\]\}$/m,
  'the order at version 1': /"status":"placed"/,
  'the shipment needs the current ETag of the order':
    /"code":"STREAM_VERSION_MISMATCH"[^]*"status":"shipped"/,
  'the stock': /\{"onHand":8,"reserved":0,"available":8,"version":252\}/,
  'the stock after 120 of its 250 movements': /^\{"onHand":28,"reserved":0,"available":28,"version":120\}$/m,
  'the same state by its time': /^\{"onHand":28,"reserved":0,"available":28,"version":120\}$/m,
  'the snapshots from which the stock is loaded': /^\[100,200\]$/m,
  '20 concurrent orders for the last eight mugs: none is sold twice':
    /^ *8 201\n *12 409\n\{"onHand":8,"reserved":8,"available":0,/m,
  'another order is refused with the reason; after a receipt of goods, the same request succeeds':
    /"code":"INSUFFICIENT_STOCK"[^]*"onHand":13[^]*"status":"placed"/,
  'the sales by day and product; Kvent-Position makes sure that the last order is included':
    /\{"items":\[\{"day":"20[^"]+","sku":"mug","orders":\d+,"quantity":\d+,"cents":\d+\}/,
  'the revenue: what was paid, counted in the commit of each order': /^\{"cents":"1800"\}$/m,
};
