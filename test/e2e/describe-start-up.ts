/** `npm start`: what it prints when it starts, and when it cannot. */
import { createServer, type AddressInfo } from 'node:net';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { etagOf } from './client.js';
import { Load } from './load.js';
import { bash } from './shell.js';
import { openShop } from './shop.js';
import { ShopProcess, type Exit, type StartOptions } from './shop-process.js';
import { sharedStorages } from './storages.js';

const ownDirectory = 'data/storefront';
let cwd: string;

const refusal = async (options: StartOptions): Promise<Exit> =>
  await new ShopProcess({ cwd, ...options }).exit;
const oneLine = (text: string): object => ({ code: 1, stdout: '', stderr: `${text}\n` });

export function describeStartUp(): void {
  describe('npm start', inTemporaryFolder(starts));
  describe('The shop does not start, and prints one line,', inTemporaryFolder(refusals));
  describe('The shop stops, and', inTemporaryFolder(stops));
  describe('From one start to the next', inTemporaryFolder(restarts));
}

const inTemporaryFolder = (tests: () => void) => (): void => {
  beforeEach(async () => {
    cwd = await mkdtemp(join(tmpdir(), 'kvent-start-'));
  });
  afterEach(() => rm(cwd, { recursive: true, force: true }));
  tests();
};

function starts(): void {
  it('builds and runs the shop', async () => {
    const { scripts } = JSON.parse(
      await readFile(join(import.meta.dirname, '../../package.json'), 'utf8'),
    ) as {
      scripts: Record<string, string>;
    };
    expect(scripts).toMatchObject({
      start: 'npm run --silent build && node apps/storefront/dist/main.js',
      build:
        'node node_modules/typescript-7/bin/tsc -b tsconfig.build.json && node test/packaging/bundle-cli.mjs',
    });
  });

  it('opens two demo shops on files in ./data, and prints commands that work', async () => {
    await using shop = await ShopProcess.open({ cwd, program: 'modules' });
    expect(shop.printed).toBe(openingLines(shop.port));
    expect(existsSync(join(cwd, ownDirectory))).toBe(true);
    expect((await shop.client.get('/tenants')).body).toEqual({
      items: [
        { id: 'acme', name: 'Acme' },
        { id: 'globex', name: 'Globex' },
      ],
    });

    const lines = shop.printed.split('\n').filter((line) => /^( {2}\S| {4}-H)/.test(line));
    expect(lines.length).toBe(6);
    const output = await bash(lines.join('\n'));
    expect(output).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(output).toMatch(/\r\nETag: "[1-9]\d*-[0-9a-z]+-\d+"\r\n/i);
    expect(output).toContain('{"sku":"mug","title":"Mug","priceCents":850,"tags":[]}');
    expect(output).toMatch(/\{"sku":"mug","title":"Mug","priceCents":870,"tags":\[\]\}$/);
  });

  it('runs in memory with STOREFRONT_STORAGE=memory, and logs everything with LOG=all', async () => {
    await using shop = await ShopProcess.open({ cwd, storage: 'memory', env: { LOG: 'all' } });
    expect(shop.printed).toContain('storage: memory (gone when it stops)\n');
    expect(shop.printed).not.toContain('--fresh');
    expect(shop.printed).toContain('Mapped {/products/:sku, GET} route');
    expect(await shop.client.as('acme').get('/products/mug')).toMatchObject({ status: 200 });
    expect(existsSync(join(cwd, 'data'))).toBe(false);
  });
}

const livePaths = ['/products/mug/live', '/reports/sales/live', '/carts/c1/live', '/catalogue/live'];

function stops(): void {
  it.each([
    ['express', 'SIGTERM'],
    ['fastify', 'SIGTERM'],
    ['express', 'SIGINT'],
  ] as const)('ends its live streams, on %s at a %s, and waits for no client', async (http, signal) => {
    await using shop = await ShopProcess.open({ cwd, storage: 'memory', env: { STOREFRONT_HTTP: http } });
    const client = shop.client.as('acme');
    await client.put('/carts/c1/items/mug', { quantity: 1 });
    const live = livePaths.map(async (path) => {
      const { body } = await client.open(path, {});
      const reader = (body as ReadableStream<Uint8Array>).getReader();
      // it is being sent; the client does not leave
      expect((await reader.read()).done).toBe(false);
      return reader;
    });
    const readers = await Promise.all(live);
    expect(await shop.kill(signal)).toMatchObject({ code: 0, signal: null, stderr: '' });
    for (const reader of readers) {
      let isDone = false;
      while (!isDone) ({ done: isDone } = await reader.read());
    }
  });
}

// Other refusals: apps/storefront/src/settings.spec.ts and storage.spec.ts.
function refusals(): void {
  it('if its port is taken', async () => {
    const server = createServer();
    const port = await new Promise<number>((resolve) =>
      server.listen(0, () => resolve((server.address() as AddressInfo).port)),
    );
    try {
      const line = `Port ${port} is taken. Choose another one: PORT=${port + 1} npm start`;
      expect(await refusal({ storage: 'memory', port })).toMatchObject(oneLine(line));
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it('if its storage is of an unknown kind', async () => {
    const line =
      'STOREFRONT_STORAGE must be memory, a directory, file: and a directory, or postgres://user:password@host/database; got "redis:".';
    expect(await refusal({ storage: 'redis://user:secret@localhost' })).toMatchObject(oneLine(line));
  });

  it('without the password if its Postgres cannot be reached', async () => {
    const line =
      'Postgres shop@127.0.0.1:1/shop cannot be opened: connect ECONNREFUSED 127.0.0.1:1. Is it running, and is the address right? ' +
      '"docker compose up -d --wait" starts one at postgres://kvent:kvent@localhost/kvent';
    const { code, stdout, stderr } = await refusal({ storage: 'postgres://shop:secret@127.0.0.1:1/shop' });
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr.trimEnd().split('\n')).toEqual([
      expect.stringMatching(/no connection to 127\.0\.0\.1:1, database shop .* more attempts/),
      line,
    ]);
  });

  it('that names the process which has its directory open; --fresh removes nothing', async () => {
    await using shop = await ShopProcess.open({ cwd });
    const acme = shop.client.as('acme');
    await acme.post('/products', { sku: 'mine', title: 'Mine', priceCents: 1 });
    for (const { code, stdout, stderr } of await Promise.all([refusal({}), refusal({ args: ['--fresh'] })])) {
      expect({ code, stdout, lines: stderr.trimEnd().split('\n').length }).toEqual({
        code: 1,
        stdout: '',
        lines: 1,
      });
      expect(stderr).toMatch(
        new RegExp(
          `process ${shop.pid} on .* Stop that process, or open a second shop: STOREFRONT_STORAGE=./data/second`,
        ),
      );
    }
    expect(await acme.post('/products', { sku: 'more', title: 'More', priceCents: 1 })).toMatchObject({
      status: 201,
    });
    await shop.kill('SIGKILL');
    await using again = await ShopProcess.open({ cwd });
    for (const sku of ['mine', 'more', 'mug'])
      expect(await again.client.as('acme').get(`/products/${sku}`)).toMatchObject({ status: 200 });
  });

  it('if --fresh would empty another directory than its own', async () => {
    await mkdir(join(cwd, 'elsewhere'));
    await writeFile(join(cwd, 'elsewhere/letter.txt'), 'Dear');
    const line = `--fresh empties ./${ownDirectory} and no other directory: remove ./elsewhere yourself.`;
    expect(await refusal({ storage: './elsewhere', args: ['--fresh'] })).toMatchObject(oneLine(line));
    expect(await readFile(join(cwd, 'elsewhere/letter.txt'), 'utf8')).toBe('Dear');
  });
}

function restarts(): void {
  it('deleted demo data stay deleted, and --fresh restores them', async () => {
    await using first = await ShopProcess.open({ cwd });
    await changeDemoData(first);
    expect(await first.kill('SIGTERM')).toMatchObject({ code: 0, stderr: '' });

    await using second = await ShopProcess.open({ cwd });
    expect(await statusesOf(second)).toEqual({ mug: 404, mine: 200, hooli: 200 });
    expect(await second.client.as('globex').get('/products/mug')).toMatchObject({ status: 200 });
    expect(await second.kill('SIGINT')).toMatchObject({ code: 0, stderr: '' });

    await using third = await ShopProcess.open({ cwd, args: ['--fresh'] });
    expect(await statusesOf(third)).toEqual({ mug: 200, mine: 404, hooli: 404 });
  });

  // The server keeps the data, so one sequence of starts covers all cases.
  for (const storage of sharedStorages)
    it(`on ${storage.name}, every acknowledged write is stored after a kill -9 and a SIGTERM under load, and --fresh restores the demo data`, async () => {
      await using place = await storage.create();
      const options: StartOptions = { cwd, storage: place.setting, env: { STOREFRONT_HTTP: storage.http } };
      const load = new Load();
      await using first = await ShopProcess.open({ ...options, program: 'modules' });
      expect(first.printed).toContain(
        `storage: ${descriptionOf(place.setting)} (durable, any number of processes)\n`,
      );
      expect(first.printed).toContain('Again from scratch: npm start -- --fresh\n');
      await changeDemoData(first);
      await load.prepare(first.client);
      await endUnderLoad(first, 'SIGKILL', load, 150);

      await using second = await ShopProcess.open(options);
      expect(await statusesOf(second)).toEqual({ mug: 404, mine: 200, hooli: 200 });
      await load.assertAllWritten(second.client);
      expect(await endUnderLoad(second, 'SIGTERM', load, 300)).toMatchObject({ code: 0, stderr: '' });

      await using other = await openShop(place);
      await load.assertAllWritten(other.client);
      await using third = await ShopProcess.open({ ...options, args: ['--fresh'] });
      expect(await statusesOf(third)).toEqual({ mug: 200, mine: 404, hooli: 404 });
    });
}

async function changeDemoData({ client }: ShopProcess): Promise<void> {
  const acme = client.as('acme');
  await acme.delete('/products/mug', { 'If-Match': etagOf(await acme.get('/products/mug')) });
  await acme.post('/products', { sku: 'mine', title: 'Mine', priceCents: 1 });
  await client.put('/tenants/hooli', { name: 'Hooli' });
}

async function endUnderLoad(
  shop: ShopProcess,
  signal: NodeJS.Signals,
  load: Load,
  writes: number,
): Promise<Exit> {
  const working = load.writeTo(shop.client);
  await load.reached(writes);
  const ended = await shop.kill(signal);
  await working;
  return ended;
}

/** The description of a Postgres storage, without the password. */
function descriptionOf(url: string): string {
  const { username, password, host, pathname } = new URL(url);
  const description = `Postgres ${username}@${host}${pathname}`;
  if (password !== '') expect(description).not.toContain(password);
  return description;
}

async function statusesOf({ client }: ShopProcess): Promise<Record<string, number>> {
  const acme = client.as('acme');
  const answers = await Promise.all([
    acme.get('/products/mug'),
    acme.get('/products/mine'),
    client.as('hooli').get('/products'),
  ]);
  const [mug, mine, hooli] = answers.map(({ status }) => status);
  return { mug, mine, hooli } as Record<string, number>;
}

const openingLines = (port: number): string => `
Storefront  http://localhost:${port}     storage: JSON file ./data/storefront (durable, one process)
            /docs  API page${' '.repeat(String(port).length - 4)}           tenants: acme, globex     (header X-Tenant-Id)

Try, in another terminal:

  # a product of a tenant, with its ETag
  curl -i localhost:${port}/products/mug -H 'X-Tenant-Id: acme'

  # 20 concurrent price changes: none is lost
  seq 20 | xargs -P 20 -I_ curl -s -o /dev/null -X POST localhost:${port}/products/mug/price-changes \\
    -H 'X-Tenant-Id: acme' -H 'Content-Type: application/json' -d '{"by":1}'
  curl localhost:${port}/products/mug -H 'X-Tenant-Id: acme'

More: README, "A walk through the store".   Stop: Ctrl+C.   Again from scratch: npm start -- --fresh
On Postgres: STOREFRONT_STORAGE=postgres://… npm start

`;
