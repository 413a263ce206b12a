/** Every line of the walk, typed into one shell as it stands, from the data that `GET /` answers. It starts 150 processes: on what is kept alone. */
import { describe, expect, it } from '@jest/globals';
import { bash } from './shell.js';
import { onEachStorage, type ShopUnderTest } from './shop.js';
import { lasting } from './storages.js';

interface Step {
  readonly about: string;
  readonly command: string;
  readonly statuses: readonly number[];
}

const suite = (shop: ShopUnderTest): void => {
  it('works line by line, as it is written', async () => {
    const { try: steps } = (await shop.client.get('/')).body as { try: Step[] };
    const output = await bash(steps.map(({ command }) => `${command}\necho; echo '${mark}'`).join('\n'));
    const said = output.split(mark).slice(0, steps.length);
    const shown = said.map((text) => [...text.matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => Number(status)));
    expect(steps.map(({ about }, index) => [about, shown[index]])).toEqual(steps.map(({ about, statuses }) => [about, statuses]));
    for (const [about, expected] of Object.entries(alsoSaid)) {
      const index = steps.findIndex((step) => step.about === about);
      expect(said[index]).toMatch(expected);
    }
  });
};
onEachStorage('The walk', suite, lasting);

describe('The walk', () => {
  it('is not said to be more than is looked at', () => {
    expect(Object.keys(alsoSaid).length).toBeGreaterThan(8);
  });
});

const mark = '--- next ---';

/** Beside the statuses: what the reader is told to see. */
const alsoSaid: Record<string, RegExp> = {
  "a tenant's product, with its ETag": /^ETag: "\d+"\r$/im,
  '20 price rises at once: none is lost': /"priceCents":870/,
  'no tenant, no shop': /"code":"TENANT_MISSING"/,
  'who would overwrite says what they have read': /"code":"PRECONDITION_REQUIRED"/,
  'the first one wins': /"priceCents":900/,
  'the same line again: it is no longer what was read': /"code":"STORAGE_CONFLICT"/,
  'another shop, another price': /"priceCents":1125/,
  'the first page, and a Link to the next one': /^Link: <\/products\?limit=2&cursor=[^>]+>; rel="next"\r$/im,
  'a cart; it expires half an hour after the last look': /"expiresAt":"20/,
  '50 buyers at once: nothing is sold twice': /^ *10 201\n *40 409\n\{"onHand":10,"reserved":10,"available":0,/m,
  'one more is refused, and told why': /"code":"INSUFFICIENT_STOCK"/,
};
