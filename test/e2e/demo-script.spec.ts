/**
 * Every line of the walk, typed into one shell as it stands, from the data that `GET /` answers.
 * What is left after `kill -9`: see process.spec.ts.
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
 * A bank whose slow card takes as long as the walk needs, on a busy machine too: the walk sleeps
 * until the payment is under way, and waits for its end when it has tried the second one.
 */
class SlowBank implements AsyncDisposable {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(): Promise<SlowBank> {
    return new SlowBank(await mkdtemp(join(tmpdir(), 'kvent-walk-')));
  }

  readonly transport: BankTransport = async (call, card) => {
    if (card === 'slow') {
      await writeFile(this.#file('begun'), '');
      await until('the walk waits for the slow payment', () => existsSync(this.#file('tried')));
    }
    return await call();
  };

  /** What `sleep` and `wait` are in the walk. */
  get time(): string {
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
  it('works line by line, as it is written', async () => {
    const { try: steps } = (await shop.client.get('/')).body as { try: Step[] };
    await using bank = await SlowBank.open();
    transport = bank.transport;
    const output = await bash(
      `${bank.time}\n${steps.map(({ command }) => `${command}\necho; echo '${mark}'`).join('\n')}`,
    );
    const said = output.split(mark).slice(0, steps.length);
    const shown = said.map((text) =>
      [...text.matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => Number(status)),
    );
    expect(steps.map(({ about }, index) => [about, shown[index]])).toEqual(
      steps.map(({ about, statuses }) => [about, statuses]),
    );
    for (const [about, expected] of Object.entries(alsoSaid)) {
      const index = steps.findIndex((step) => step.about === about);
      expect(said[index]).toMatch(expected);
    }
  });
};
onEachStorage('The walk', suite, storages, { line: (...call) => transport(...call) });

describe('The walk', () => {
  it('is not said to be more than is looked at', () => {
    expect(Object.keys(alsoSaid).length).toBeGreaterThan(18);
  });
});

const mark = '--- next ---';

/** Beside the statuses: what the reader is told to see. */
const alsoSaid: Record<string, RegExp> = {
  "a tenant's product, with its ETag": /^ETag: "\d+-[0-9a-z]+-2"\r$/im,
  '20 price rises at once: none is lost': /"priceCents":870/,
  'no tenant, no shop': /"code":"TENANT_MISSING"/,
  'who would overwrite says what they have read': /"code":"PRECONDITION_REQUIRED"/,
  'the first one wins': /"priceCents":900/,
  'the same line again: it is no longer what was read': /"code":"STORAGE_CONFLICT"/,
  'another shop, another price': /"priceCents":1125/,
  'the first page, and a Link to the next one': /^Link: <\/products\?limit=2&cursor=[^>]+>; rel="next"\r$/im,
  'a cart; it expires half an hour after the last look': /"expiresAt":"20/,
  'an order: its goods are reserved, it is listed, and the cart is gone, in one commit':
    /^ETag: "v1-[0-9a-z]+-1"\r$/im,
  'the same line again: the same order, and no other': /^Idempotency-Replayed: true\r$/im,
  'a slow card holds the order for three seconds: who comes meanwhile is told when to come back':
    /^Retry-After: [1-9]\r$[^]*"code":"SESSION_OPEN_FAILED"[^]*"status":"paid"/im,
  'placed and paid, each with its version, its time and the id of its request':
    /^\{"items":\[\{"version":1,"type":"placed",.*"recordedAt":"20.*Z","correlationId":"[^"]+"\},\{"version":2,"type":"paid",.*\}\]\}$/m,
  'the order as it was': /"status":"placed"/,
  'the goods leave, if nothing has happened to the order since':
    /"code":"STREAM_VERSION_MISMATCH"[^]*"status":"shipped"/,
  'what is in stock': /\{"onHand":8,"reserved":0,"available":8,"version":252\}/,
  'what we had after 120 movements of 250 …': /^\{"onHand":28,"reserved":0,"available":28,"version":120\}$/m,
  '… and the same by its time': /^\{"onHand":28,"reserved":0,"available":28,"version":120\}$/m,
  'where loading begins, instead of at the first movement': /^\[100,200\]$/m,
  '20 shoppers at once, each for one of the eight mugs that are left: none is sold twice':
    /^ *8 201\n *12 409\n\{"onHand":8,"reserved":8,"available":0,/m,
  'one more is refused, and told why; when goods have come, the same line goes through':
    /"code":"INSUFFICIENT_STOCK"[^]*"onHand":13[^]*"status":"placed"/,
};
