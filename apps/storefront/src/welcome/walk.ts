/**
 * What there is to try, as data: printed when the shop opens, answered by `GET /`, executed line by line by `test/e2e`. Every command is for a
 * shell as it stands; the walk is one session, so a variable that one step sets is there for the next.
 */
export interface Step {
  readonly about: string;
  readonly command: string;
  /** The statuses that its `curl -i` show, in their order. */
  readonly statuses: readonly number[];
  /** Shown when the shop opens. */
  readonly printed?: boolean;
}

export function walk(port: number): readonly Step[] {
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
    { about: 'the first page, and a Link to the next one', command: `curl -i "${shop}/products?limit=2" ${tenant}`, statuses: [200] },
    {
      about: 'a cart; it expires half an hour after the last look',
      command: [
        `curl -i -X PUT ${shop}/carts/c1/items/mug ${tenant} ${json} -d '{"quantity":2}'`,
        `curl -i ${shop}/carts/c1 ${tenant}`,
      ].join('\n'),
      statuses: [200, 200],
    },
    { about: 'what is in stock', command: `curl -i ${shop}/stock/mug ${tenant}`, statuses: [200] },
    {
      about: '50 buyers at once: nothing is sold twice',
      command: [
        `seq 50 | xargs -P 50 -I@ curl -s -o /dev/null -w '%{http_code}\\n' -X POST ${shop}/stock/mug/reservations \\`,
        `  ${tenant} ${json} -d '{"quantity":1}' | sort | uniq -c`,
        `curl ${shop}/stock/mug ${tenant}`,
      ].join('\n'),
      statuses: [],
    },
    {
      about: 'one more is refused, and told why',
      command: `curl -i -X POST ${shop}/stock/mug/reservations ${tenant} ${json} -d '{"quantity":1}'`,
      statuses: [409],
    },
    {
      about: 'more goods, a reservation, and the same reservation again',
      command: [
        `curl -i -X POST ${shop}/stock/mug/receipts ${tenant} ${json} -d '{"quantity":5}'`,
        `curl -i -X POST ${shop}/stock/mug/reservations ${tenant} ${json} -d '{"quantity":3,"id":"r1"}'`,
        `curl -i -X POST ${shop}/stock/mug/reservations ${tenant} ${json} -d '{"quantity":3,"id":"r1"}'`,
        `curl -i -X POST ${shop}/stock/mug/reservations/r1/commitment ${tenant}`,
      ].join('\n'),
      statuses: [201, 201, 200, 200],
    },
  ];
}
