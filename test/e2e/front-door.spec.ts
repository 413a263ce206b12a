import { expect, it } from '@jest/globals';
import type { Answer } from './client.js';
import { bash } from './shell.js';
import { onEachStorage } from './shop.js';

onEachStorage('The root of the shop', (shop) => {
  it('lists the commands of the demo script', async () => {
    const { status, body } = await shop.client.get('/');
    expect(status).toBe(200);
    expect(body).toMatchObject({
      name: 'Storefront',
      tenants: ['acme', 'globex'],
      docs: '/docs',
      storage: 'memory',
    });
    const { try: steps } = body as { try: { command: string }[] };
    expect(steps[0]?.command).toBe(`curl -i localhost:${shop.port}/products/mug -H 'X-Tenant-Id: acme'`);
  });

  it('does not copy the Host header into commands for a shell', async () => {
    const text = await bash(`curl -s localhost:${shop.port}/ -H 'Host: evil$(rm)'`);
    expect(text).toContain(`curl -i localhost:${shop.port}/`);
    expect(text).not.toContain('evil');
  });

  it('reports health and the features of the storage, and neither its address nor its user', async () => {
    const { status, body } = await shop.client.get('/health');
    expect(status).toBe(200);
    expect(body).toEqual({
      status: 'ok',
      features: expect.objectContaining({ shared: shop.subject.shared }),
    });
  });

  it('has an API page without files of other servers', async () => {
    const page = await shop.client.get('/docs');
    expect(page.status).toBe(200);
    expect(page.text).toContain('<title>Storefront</title>');
    const files = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, file]) => file as string);
    expect(files.length).toBeGreaterThan(2);
    expect(files.filter((file) => /^(https?:)?\/\//.test(file))).toEqual([]);
    for (const file of files)
      expect((await shop.client.get(new URL(file, 'http://shop/docs').pathname)).status).toBe(200);
  });

  it('describes each address in OpenAPI, with its inputs and outputs', async () => {
    const { body } = await shop.client.get('/docs-json');
    const { paths } = body as { paths: Record<string, Record<string, Described>> };
    const all = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, described]) => ({
        name: `${method.toUpperCase()} ${path}`,
        described,
      })),
    );
    expect(all.map(({ name }) => name).sort()).toEqual([...addresses].sort());
    expect(all.filter(({ described }) => !described.summary).map(({ name }) => name)).toEqual([]);
    const add = paths['/products']?.['post'];
    expect(add?.requestBody?.content['application/json'].schema).toMatchObject({
      required: ['sku', 'title', 'priceCents'],
    });
    expect(add?.parameters).toContainEqual(
      expect.objectContaining({ name: 'X-Tenant-Id', in: 'header', required: true }),
    );
    const list = paths['/products']?.['get'];
    expect(list?.parameters?.map(({ name }) => name).sort()).toEqual([
      'X-Tenant-Id',
      'cursor',
      'limit',
      'order',
      'prefix',
      'sort',
    ]);
    const parameterNames = (path: string, method: string) =>
      paths[path]?.[method]?.parameters?.map(({ name }) => name).sort();
    expect(parameterNames('/stock/{sku}', 'get')).toEqual(['X-Tenant-Id', 'at', 'sku', 'version']);
    expect(parameterNames('/stock/{sku}/movements', 'get')).toEqual([
      'X-Tenant-Id',
      'from',
      'limit',
      'order',
      'sku',
      'to',
    ]);
    expect(parameterNames('/products/{sku}', 'put')).toEqual([
      'If-Match',
      'If-None-Match',
      'X-Tenant-Id',
      'sku',
    ]);
    const responses = paths['/products/{sku}']?.['put']?.responses;
    expect(Object.keys(responses?.['200']?.headers ?? {})).toEqual(['ETag']);
    for (const status of ['400', '412', '422', '428'])
      expect([status, Object.keys(responses?.[status]?.content ?? {})]).toEqual([
        status,
        ['application/problem+json'],
      ]);
    expect(Object.keys(paths['/orders/{id}/payment']?.['post']?.responses?.['423']?.headers ?? {})).toEqual([
      'Retry-After',
    ]);
    expect(Object.keys(list?.responses?.['200']?.headers ?? {})).toEqual(['Link']);
    expect(parameterNames('/orders', 'post')).toEqual(['Idempotency-Key', 'X-Tenant-Id']);
    expect(
      paths['/orders/{id}/payment']?.['post']?.requestBody?.content['application/json'].schema,
    ).toMatchObject({ required: ['card'] });
  });

  it('keeps a valid correlation id, and creates one otherwise', async () => {
    expect(
      (await shop.client.get('/', { 'X-Correlation-Id': 'order-17' })).headers.get('x-correlation-id'),
    ).toBe('order-17');
    const created = (await shop.client.get('/')).headers.get('x-correlation-id');
    expect(created).toMatch(/^[0-9a-f-]{36}$/);
    expect(
      (await shop.client.get('/', { 'X-Correlation-Id': '<script>' })).headers.get('x-correlation-id'),
    ).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('sends problem details with the correlation id, from every source of errors', async () => {
    const acme = shop.client.as('acme');
    const id = { 'X-Correlation-Id': 'c-1' };
    const problems = {
      'the router': await shop.client.get('/nowhere', id),
      'the body parser': await acme.post('/products', '{"sku":', id),
      'the tenancy': await shop.client.get('/products/mug', id),
      'the storage': await acme.get('/products/none', id),
      'the schema': await acme.post('/products', {}, id),
      'the shop': await acme.get('/carts/none', id),
      'the streams': await acme.get('/orders/none', id),
    };
    const shape = Object.entries(problems).map(([source, { status, headers, body }]) => {
      const problem = body as Record<string, unknown>;
      return [
        source,
        status,
        headers.get('content-type')?.split(';')[0],
        problem['status'],
        problem['correlationId'],
        problem['instance'],
        problem['code'],
      ];
    });
    const json = 'application/problem+json';
    expect(shape).toEqual([
      ['the router', 404, json, 404, 'c-1', '/nowhere', undefined],
      ['the body parser', 400, json, 400, 'c-1', '/products', undefined],
      ['the tenancy', 400, json, 400, 'c-1', '/products/mug', 'TENANT_MISSING'],
      ['the storage', 404, json, 404, 'c-1', '/products/none', 'KEY_NOT_FOUND'],
      ['the schema', 422, json, 422, 'c-1', '/products', 'INVALID_VALUE'],
      ['the shop', 404, json, 404, 'c-1', '/carts/none', 'CART_NOT_FOUND'],
      ['the streams', 404, json, 404, 'c-1', '/orders/none', 'STREAM_NOT_FOUND'],
    ]);
  });

  it('answers the same on every HTTP framework', async () => {
    const acme = shop.client.as('acme');
    const malformed = 'The body or the address of the request is malformed.';
    const json = { 'Content-Type': 'application/json' };
    const outcome = async (pending: Promise<Answer>) => {
      const { status, headers, body } = await pending;
      const { detail, instance } = (body ?? {}) as Readonly<Record<string, unknown>>;
      return [status, headers.get('content-type'), detail, instance];
    };
    const problem = 'application/problem+json; charset=utf-8';
    const notJson = 'The body must be application/json.';
    const long = 'k'.repeat(1_000);
    const product = { sku: 'safe', title: 'Safe', priceCents: 1 };
    expect({
      'a body that is not JSON': await outcome(acme.post('/products', '{"sku":')),
      'a body that is too large': await outcome(acme.post('/products', { sku: 'x'.repeat(102_400) })),
      'a text': await outcome(acme.post('/products', 'text', { 'Content-Type': 'text/plain' })),
      'a form': await outcome(
        acme.post('/products', 'sku=mug', { 'Content-Type': 'application/x-www-form-urlencoded' }),
      ),
      'lines, not uploaded': await outcome(
        acme.post('/products', '{}', { 'Content-Type': 'application/x-ndjson' }),
      ),
      'an upload that is not lines': await outcome(acme.post('/products/import', '{}')),
      'another charset': await outcome(
        acme.post('/products', '{}', { 'Content-Type': 'application/json; charset=utf-8' }),
      ),
      'no body': await outcome(acme.send('DELETE', '/carts/none', undefined, json)),
      'a malformed address': await outcome(acme.get('/products/%FF')),
      'a long key': await outcome(acme.get(`/products/${long}`)),
      'a slash at the end': await outcome(acme.get('/products/')),
      'upper case': await outcome(acme.get('/PRODUCTS?limit=1')),
      HEAD: await outcome(acme.send('HEAD', '/products/pen')),
      'an unknown method': await outcome(acme.send('PATCH', '/products/pen')),
      'a property __proto__': await outcome(acme.post('/products', '{"__proto__":1,"sku":""}')),
    }).toEqual({
      'a body that is not JSON': [400, problem, malformed, '/products'],
      'a body that is too large': [413, problem, 'The body of the request is too large.', '/products'],
      'a text': [415, problem, notJson, '/products'],
      'a form': [415, problem, notJson, '/products'],
      'lines, not uploaded': [415, problem, notJson, '/products'],
      'an upload that is not lines': [
        415,
        problem,
        'The body must be application/x-ndjson.',
        '/products/import',
      ],
      'another charset': [422, problem, expect.stringContaining('sku'), '/products'],
      'no body': [204, null, undefined, undefined],
      'a malformed address': [400, problem, malformed, '/products/%FF'],
      'a long key': [404, problem, expect.stringContaining('kkk'), `/products/${long}`],
      'a slash at the end': [200, 'application/json; charset=utf-8', undefined, undefined],
      'upper case': [200, 'application/json; charset=utf-8', undefined, undefined],
      HEAD: [200, 'application/json; charset=utf-8', undefined, undefined],
      'an unknown method': [404, problem, 'Cannot PATCH /products/pen', '/products/pen'],
      'a property __proto__': [422, problem, expect.stringContaining('sku'), '/products'],
    });
    expect(await acme.post('/products', product)).toMatchObject({ status: 201 });
  });

  it('does not name the framework', async () => {
    const { headers } = await shop.client.get('/');
    expect(headers.get('x-powered-by')).toBeNull();
    expect(headers.get('etag')).toBeNull();
  });
});

interface Described {
  readonly summary?: string;
  readonly parameters?: readonly { readonly name: string }[];
  readonly responses?: Readonly<Record<string, { readonly headers?: object; readonly content?: object }>>;
  readonly requestBody?: { readonly content: { readonly 'application/json': { readonly schema: object } } };
}

const addresses = [
  'GET /',
  'GET /health',
  'GET /tenants',
  'PUT /tenants/{id}',
  'POST /tenants/{id}/keys',
  'POST /products',
  'GET /products',
  'GET /products/export',
  'POST /products/import',
  'POST /products/additions',
  'POST /products/deletions',
  'GET /catalogue/live',
  'GET /products/{sku}',
  'GET /products/{sku}/live',
  'PUT /products/{sku}',
  'DELETE /products/{sku}',
  'POST /products/{sku}/price-changes',
  'PUT /carts/{id}/items/{sku}',
  'GET /carts/{id}',
  'GET /carts/{id}/live',
  'DELETE /carts/{id}',
  'GET /stock/{sku}',
  'POST /stock/{sku}/receipts',
  'GET /stock/{sku}/movements',
  'GET /stock/{sku}/snapshots',
  'POST /stock/{sku}/snapshots',
  'DELETE /stock/{sku}/snapshots/{version}',
  'POST /orders',
  'GET /orders',
  'GET /orders/{id}',
  'GET /orders/{id}/events',
  'POST /orders/{id}/payment',
  'POST /orders/{id}/cancellation',
  'POST /orders/{id}/shipment',
  'GET /reports/sales',
  'GET /reports/sales/live',
  'GET /reports/revenue',
  'GET /reports/views',
  'GET /reports/health',
  'POST /migrations/products',
  'GET /migrations/products',
];
