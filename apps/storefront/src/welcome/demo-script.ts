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
      about: 'a product of a tenant, with its ETag',
      command: `curl -i ${mug} ${tenant}`,
      statuses: [200],
      printed: true,
    },
    {
      about: '20 concurrent price changes: none is lost',
      command: [
        `seq 20 | xargs -P 20 -I_ curl -s -o /dev/null -X POST ${mug}/price-changes \\`,
        `  ${tenant} ${json} -d '{"by":1}'`,
        `curl ${mug} ${tenant}`,
      ].join('\n'),
      statuses: [],
      printed: true,
    },
    { about: 'a request without a tenant is refused', command: `curl -i ${mug}`, statuses: [400] },
    {
      about: 'a product that the client has already is not sent again',
      command: [
        `ETAG=$(curl -si ${mug} ${tenant} | grep -i '^etag:' | cut -d ' ' -f 2 | tr -d '\\r')`,
        `curl -i ${mug} ${tenant} -H "If-None-Match: $ETAG"`,
      ].join('\n'),
      statuses: [304],
    },
    {
      about: 'a change needs the ETag that the client has read',
      command: `curl -i -X PUT ${mug} ${tenant} ${json} -d '{"title":"Mug","priceCents":900}'`,
      statuses: [428],
    },
    {
      about: 'with this ETag the change is made',
      command: `curl -i -X PUT ${mug} ${tenant} ${json} -H "If-Match: $ETAG" -d '{"title":"Mug","priceCents":900}'`,
      statuses: [200],
    },
    {
      about: 'the same request again: the product has changed since it was read',
      command: `curl -i -X PUT ${mug} ${tenant} ${json} -H "If-Match: $ETAG" -d '{"title":"Mug","priceCents":900}'`,
      statuses: [412],
    },
    {
      about: 'another tenant has another price',
      command: `curl ${mug} -H 'X-Tenant-Id: globex'`,
      statuses: [],
    },
    {
      about: 'the first page, with a Link to the next one',
      command: `curl -i "${shop}/products?limit=2" ${tenant}`,
      statuses: [200],
    },
    {
      about: 'all products of one moment, as JSON lines',
      command: `curl -i ${shop}/products/export ${tenant}`,
      statuses: [200],
    },
    {
      about:
        'the lines of an export can be imported: stored as they come, and those that are refused are named',
      command: `curl -s ${shop}/products/export ${tenant} | curl -i -X POST ${shop}/products/import ${tenant} -H 'Content-Type: application/x-ndjson' --data-binary @-`,
      statuses: [200],
    },
    {
      about: 'a cart; it expires half an hour after the last request',
      command: [
        `curl -i -X PUT ${shop}/carts/c1/items/mug ${tenant} ${json} -d '{"quantity":2}'`,
        `curl -i ${shop}/carts/c1 ${tenant}`,
      ].join('\n'),
      statuses: [200, 200],
    },
    {
      about: 'an order: one commit reserves its goods, lists it, and deletes the cart',
      command: `curl -i -X POST ${shop}/orders ${tenant} ${json} -H 'Idempotency-Key: k1' -d '{"cart":"c1"}'`,
      statuses: [201],
    },
    {
      about: 'the same request again returns the same order',
      command: `curl -i -X POST ${shop}/orders ${tenant} ${json} -H 'Idempotency-Key: k1' -d '{"cart":"c1"}'`,
      statuses: [201],
    },
    {
      about: 'a slow card holds the order for three seconds; another request gets 423 with Retry-After',
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
      about: 'the events of the order, each with its version, time and correlation id',
      command: `curl ${shop}/orders/$ORDER/events ${tenant}`,
      statuses: [],
    },
    {
      about: 'the order at version 1',
      command: `curl "${shop}/orders/$ORDER?version=1" ${tenant}`,
      statuses: [],
    },
    {
      about: 'the shipment needs the current ETag of the order',
      command: [
        `etag() { curl -si "$1" ${tenant} | grep -i '^etag:' | cut -d ' ' -f 2 | tr -d '\\r'; }`,
        `curl -i -X POST ${shop}/orders/$ORDER/shipment ${tenant} -H "If-Match: $(etag "${shop}/orders/$ORDER?version=1")"`,
        `curl -i -X POST ${shop}/orders/$ORDER/shipment ${tenant} -H "If-Match: $(etag ${shop}/orders/$ORDER)"`,
      ].join('\n'),
      statuses: [412, 200],
    },
    { about: 'the stock', command: `curl -i ${shop}/stock/mug ${tenant}`, statuses: [200] },
    {
      about: 'the stock after 120 of its 250 movements',
      command: `curl "${shop}/stock/mug?version=120" ${tenant}`,
      statuses: [],
    },
    {
      about: 'the same state by its time',
      command: [
        `AT=$(curl -s "${shop}/stock/mug/movements?from=120&limit=1" ${tenant} | grep -o '"recordedAt":"[^"]*' | cut -d '"' -f 4)`,
        `curl "${shop}/stock/mug?at=$AT" ${tenant}`,
      ].join('\n'),
      statuses: [],
    },
    {
      about: 'the snapshots from which the stock is loaded',
      command: `curl ${shop}/stock/mug/snapshots ${tenant}`,
      statuses: [],
    },
    {
      about: '20 concurrent orders for the last eight mugs: none is sold twice',
      command: [
        `seq 20 | xargs -P 20 -I@ curl -s -o /dev/null -X PUT ${shop}/carts/b@/items/mug ${tenant} ${json} -d '{"quantity":1}'`,
        `seq 20 | xargs -P 20 -I@ curl -s -o /dev/null -w '%{http_code}\\n' -X POST ${shop}/orders \\`,
        `  ${tenant} ${json} -H 'Idempotency-Key: b@' -d '{"cart":"b@"}' | sort | uniq -c`,
        `curl ${shop}/stock/mug ${tenant}`,
      ].join('\n'),
      statuses: [],
    },
    {
      about: 'another order is refused with the reason; after a receipt of goods, the same request succeeds',
      command: [
        `curl -i -X PUT ${shop}/carts/c2/items/mug ${tenant} ${json} -d '{"quantity":1}'`,
        `curl -i -X POST ${shop}/orders ${tenant} ${json} -H 'Idempotency-Key: k2' -d '{"cart":"c2"}'`,
        `curl -i -X POST ${shop}/stock/mug/receipts ${tenant} ${json} -d '{"quantity":5}'`,
        `curl -i -X POST ${shop}/orders ${tenant} ${json} -H 'Idempotency-Key: k2' -d '{"cart":"c2"}'`,
      ].join('\n'),
      statuses: [200, 409, 201, 201],
    },
    {
      about: 'the sales by day and product; Kvent-Position makes sure that the last order is included',
      command: [
        `POSITION=$(curl -si -X POST ${shop}/orders ${tenant} ${json} -H 'Idempotency-Key: k2' -d '{"cart":"c2"}' | grep -i '^kvent-position:' | cut -d ' ' -f 2 | tr -d '\\r')`,
        `curl -i ${shop}/reports/sales ${tenant} -H "Kvent-Position: $POSITION"`,
      ].join('\n'),
      statuses: [200],
    },
    {
      about: 'the revenue: what was paid, counted in the commit of each order',
      command: `curl -i ${shop}/reports/revenue ${tenant}`,
      statuses: [200],
    },
  ];
}
