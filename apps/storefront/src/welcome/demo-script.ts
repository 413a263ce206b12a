/**
 * The demo as data: printed at the start, returned by `GET /`, and executed by `test/e2e`. Commands
 * run in one shell session, so a variable of one step is set in the next ones.
 */
export interface Step {
  readonly about: string;
  readonly command: string;
  /** The statuses that its `curl -i` print, in order. */
  readonly statuses: readonly number[];
  /** Printed at the start. */
  readonly printed?: boolean;
}

export function demoScript(port: number): readonly Step[] {
  const shop = `localhost:${port}`;
  const mug = `${shop}/products/mug`;
  const [tenant, json] = [`-H 'X-Tenant-Id: acme'`, `-H 'Content-Type: application/json'`];
  return [
    {
      about: "a tenant's product, with its ETag",
      command: `curl -i ${mug} ${tenant}`,
      statuses: [200],
      printed: true,
    },
    {
      about: '20 price rises at once: none is lost',
      command: [
        `seq 20 | xargs -P 20 -I_ curl -s -o /dev/null -X POST ${mug}/price-changes \\`,
        `  ${tenant} ${json} -d '{"by":1}'`,
        `curl ${mug} ${tenant}`,
      ].join('\n'),
      statuses: [],
      printed: true,
    },
    { about: 'no tenant, no shop', command: `curl -i ${mug}`, statuses: [400] },
    {
      about: 'what the client has already is not sent again',
      command: [
        `ETAG=$(curl -si ${mug} ${tenant} | grep -i '^etag:' | cut -d ' ' -f 2 | tr -d '\\r')`,
        `curl -i ${mug} ${tenant} -H "If-None-Match: $ETAG"`,
      ].join('\n'),
      statuses: [304],
    },
    {
      about: 'who would overwrite says what they have read',
      command: `curl -i -X PUT ${mug} ${tenant} ${json} -d '{"title":"Mug","priceCents":900}'`,
      statuses: [428],
    },
    {
      about: 'the first one wins',
      command: `curl -i -X PUT ${mug} ${tenant} ${json} -H "If-Match: $ETAG" -d '{"title":"Mug","priceCents":900}'`,
      statuses: [200],
    },
    {
      about: 'the same line again: it is no longer what was read',
      command: `curl -i -X PUT ${mug} ${tenant} ${json} -H "If-Match: $ETAG" -d '{"title":"Mug","priceCents":900}'`,
      statuses: [412],
    },
    { about: 'another shop, another price', command: `curl ${mug} -H 'X-Tenant-Id: globex'`, statuses: [] },
    {
      about: 'the first page, and a Link to the next one',
      command: `curl -i "${shop}/products?limit=2" ${tenant}`,
      statuses: [200],
    },
    {
      about: 'a cart; it expires half an hour after the last look',
      command: [
        `curl -i -X PUT ${shop}/carts/c1/items/mug ${tenant} ${json} -d '{"quantity":2}'`,
        `curl -i ${shop}/carts/c1 ${tenant}`,
      ].join('\n'),
      statuses: [200, 200],
    },
    {
      about: 'an order: its goods are reserved, it is listed, and the cart is gone, in one commit',
      command: `curl -i -X POST ${shop}/orders ${tenant} ${json} -H 'Idempotency-Key: k1' -d '{"cart":"c1"}'`,
      statuses: [201],
    },
    {
      about: 'the same line again: the same order, and no other',
      command: `curl -i -X POST ${shop}/orders ${tenant} ${json} -H 'Idempotency-Key: k1' -d '{"cart":"c1"}'`,
      statuses: [201],
    },
    {
      about: 'a slow card holds the order for three seconds: who comes meanwhile is told when to come back',
      command: [
        `ORDER=$(curl -s -X POST ${shop}/orders ${tenant} ${json} -H 'Idempotency-Key: k1' -d '{"cart":"c1"}' | grep -o '"id":"[^"]*' | cut -d '"' -f 4)`,
        `curl -i -X POST ${shop}/orders/$ORDER/payment ${tenant} ${json} -d '{"card":"slow"}' &`,
        'sleep 1',
        `curl -i -X POST ${shop}/orders/$ORDER/payment ${tenant} ${json} -d '{"card":"ok"}'`,
        'wait',
      ].join('\n'),
      statuses: [423, 200],
    },
    {
      about: 'placed and paid, each with its version, its time and the id of its request',
      command: `curl ${shop}/orders/$ORDER/events ${tenant}`,
      statuses: [],
    },
    {
      about: 'the order as it was',
      command: `curl "${shop}/orders/$ORDER?version=1" ${tenant}`,
      statuses: [],
    },
    {
      about: 'the goods leave, if nothing has happened to the order since',
      command: [
        `etag() { curl -si "$1" ${tenant} | grep -i '^etag:' | cut -d ' ' -f 2 | tr -d '\\r'; }`,
        `curl -i -X POST ${shop}/orders/$ORDER/shipment ${tenant} -H "If-Match: $(etag "${shop}/orders/$ORDER?version=1")"`,
        `curl -i -X POST ${shop}/orders/$ORDER/shipment ${tenant} -H "If-Match: $(etag ${shop}/orders/$ORDER)"`,
      ].join('\n'),
      statuses: [412, 200],
    },
    { about: 'what is in stock', command: `curl -i ${shop}/stock/mug ${tenant}`, statuses: [200] },
    {
      about: 'what we had after 120 movements of 250 …',
      command: `curl "${shop}/stock/mug?version=120" ${tenant}`,
      statuses: [],
    },
    {
      about: '… and the same by its time',
      command: [
        `AT=$(curl -s "${shop}/stock/mug/movements?from=120&limit=1" ${tenant} | grep -o '"recordedAt":"[^"]*' | cut -d '"' -f 4)`,
        `curl "${shop}/stock/mug?at=$AT" ${tenant}`,
      ].join('\n'),
      statuses: [],
    },
    {
      about: 'where loading begins, instead of at the first movement',
      command: `curl ${shop}/stock/mug/snapshots ${tenant}`,
      statuses: [],
    },
    {
      about: '20 shoppers at once, each for one of the eight mugs that are left: none is sold twice',
      command: [
        `seq 20 | xargs -P 20 -I@ curl -s -o /dev/null -X PUT ${shop}/carts/b@/items/mug ${tenant} ${json} -d '{"quantity":1}'`,
        `seq 20 | xargs -P 20 -I@ curl -s -o /dev/null -w '%{http_code}\\n' -X POST ${shop}/orders \\`,
        `  ${tenant} ${json} -H 'Idempotency-Key: b@' -d '{"cart":"b@"}' | sort | uniq -c`,
        `curl ${shop}/stock/mug ${tenant}`,
      ].join('\n'),
      statuses: [],
    },
    {
      about: 'one more is refused, and told why; when goods have come, the same line goes through',
      command: [
        `curl -i -X PUT ${shop}/carts/c2/items/mug ${tenant} ${json} -d '{"quantity":1}'`,
        `curl -i -X POST ${shop}/orders ${tenant} ${json} -H 'Idempotency-Key: k2' -d '{"cart":"c2"}'`,
        `curl -i -X POST ${shop}/stock/mug/receipts ${tenant} ${json} -d '{"quantity":5}'`,
        `curl -i -X POST ${shop}/orders ${tenant} ${json} -H 'Idempotency-Key: k2' -d '{"cart":"c2"}'`,
      ].join('\n'),
      statuses: [200, 409, 201, 201],
    },
  ];
}
