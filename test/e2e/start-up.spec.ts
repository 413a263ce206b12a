/** `npm start`, as people meet it: what it prints, and what it says when it cannot. */
import { createServer, type AddressInfo } from 'node:net';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { etagOf } from './client.js';
import { bash } from './shell.js';
import { build, ShopProcess, type Ended, type StartOptions } from './shop-process.js';

const own = 'data/storefront';
let cwd: string;

// Each test starts the shop once or twice, and a lock is waited for.
jest.setTimeout(60_000);
beforeAll(build, 180_000);
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'kvent-start-'));
});
afterEach(() => rm(cwd, { recursive: true, force: true }));

const refusal = async (options: StartOptions): Promise<Ended> => await new ShopProcess({ cwd, ...options }).ended;
const oneLine = (text: string): object => ({ code: 1, stdout: '', stderr: `${text}\n` });

describe('npm start', () => {
  it('builds what it needs, and runs the shop', async () => {
    const { scripts } = JSON.parse(await readFile(join(import.meta.dirname, '../../package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    expect(scripts).toMatchObject({
      start: 'npm run --silent build && node apps/storefront/dist/main.js',
      build: 'tsc -b tsconfig.build.json',
    });
  });

  it('opens two demo shops on files in ./data, and prints what to try', async () => {
    await using shop = await ShopProcess.open({ cwd });
    const { port } = shop;
    expect(shop.printed).toBe(openingLines(port));
    expect(existsSync(join(cwd, own))).toBe(true);
    expect((await shop.client.get('/tenants')).body).toEqual({
      items: [
        { id: 'acme', name: 'Acme' },
        { id: 'globex', name: 'Globex' },
      ],
    });
  });

  it('prints lines that work as they are printed', async () => {
    await using shop = await ShopProcess.open({ cwd });
    const lines = shop.printed
      .split('\n')
      .filter((line) => (line.startsWith('  ') && !line.startsWith('   ')) || line.startsWith('    -H'));
    expect(lines.length).toBe(6);
    const said = await bash(lines.join('\n'));
    expect(said).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(said).toMatch(/\r\nETag: "\d+"\r\n/i);
    expect(said).toContain('{"sku":"mug","title":"Mug","priceCents":850,"tags":[]}');
    expect(said).toMatch(/\{"sku":"mug","title":"Mug","priceCents":870,"tags":\[\]\}$/);
  });

  it('runs in memory too, and says so', async () => {
    await using shop = await ShopProcess.open({ cwd, storage: 'memory' });
    expect(shop.printed).toContain('storage: memory (gone when it stops)\n');
    expect(shop.printed).not.toContain('--fresh');
    expect(await shop.client.as('acme').get('/products/mug')).toMatchObject({ status: 200 });
    expect(existsSync(join(cwd, 'data'))).toBe(false);
  });

  it('shows everything that Nest says, if asked', async () => {
    await using shop = await ShopProcess.open({ cwd, storage: 'memory', env: { LOG: 'all' } });
    expect(shop.printed).toContain('Mapped {/products/:sku, GET} route');
  });
});

describe('The shop does not open, and says why in one line,', () => {
  it('when its port is taken', async () => {
    const server = createServer();
    const port = await new Promise<number>((resolve) => server.listen(0, () => resolve((server.address() as AddressInfo).port)));
    try {
      expect(await refusal({ storage: 'memory', port })).toMatchObject(
        oneLine(`Port ${port} is taken. Choose another one: PORT=${port + 1} npm start`),
      );
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it('when another process has its directory: who, and what to do', async () => {
    await using shop = await ShopProcess.open({ cwd });
    const { code, stdout, stderr } = await refusal({});
    expect({ code, stdout, lines: stderr.trimEnd().split('\n').length }).toEqual({ code: 1, stdout: '', lines: 1 });
    expect(stderr).toContain(String(shop.pid));
    expect(stderr).toContain('STOREFRONT_STORAGE=./data/second PORT=3001 npm start');
    expect(await shop.client.as('acme').get('/products/mug')).toMatchObject({ status: 200 });
  });

  // What else it refuses is looked at in apps/storefront/src/settings.spec.ts and storage.spec.ts.
  it('when its storage is none that it knows', async () => {
    const line = 'STOREFRONT_STORAGE is memory, a directory, or file: and a directory; it begins with "postgres:".';
    expect(await refusal({ storage: 'postgres://user:secret@localhost/shop' })).toMatchObject(oneLine(line));
  });
});

describe('From one start to the next', () => {
  it('what was removed from the demo data stays removed', async () => {
    await using first = await ShopProcess.open({ cwd });
    const acme = first.client.as('acme');
    const etag = etagOf(await acme.get('/products/mug'));
    await acme.delete('/products/mug', { 'If-Match': etag });
    expect(await first.kill('SIGTERM')).toMatchObject({ code: 0 });
    await using second = await ShopProcess.open({ cwd });
    expect(await second.client.as('acme').get('/products/mug')).toMatchObject({ status: 404 });
    expect(await second.client.as('globex').get('/products/mug')).toMatchObject({ status: 200 });
  });

  it('everything is new after --fresh', async () => {
    await using first = await ShopProcess.open({ cwd });
    await first.client.as('acme').post('/products', { sku: 'mine', title: 'Mine', priceCents: 1 });
    await first.client.put('/tenants/hooli', { name: 'Hooli' });
    await first.kill('SIGTERM');
    await using second = await ShopProcess.open({ cwd, args: ['--fresh'] });
    expect(await second.client.as('acme').get('/products/mine')).toMatchObject({ status: 404 });
    expect(await second.client.as('acme').get('/products/mug')).toMatchObject({ status: 200 });
    expect(await second.client.as('hooli').get('/products')).toMatchObject({ status: 404 });
  });

  it('--fresh empties no directory but the own one', async () => {
    const storage = './elsewhere';
    await using first = await ShopProcess.open({ cwd, storage });
    await first.client.as('acme').post('/products', { sku: 'mine', title: 'Mine', priceCents: 1 });
    await first.kill('SIGTERM');
    const line = `--fresh empties ./${own} and no other directory: remove ${storage} yourself.`;
    expect(await refusal({ storage, args: ['--fresh'] })).toMatchObject(oneLine(line));
    await using second = await ShopProcess.open({ cwd, storage });
    expect(await second.client.as('acme').get('/products/mine')).toMatchObject({ status: 200 });
  });

  it('--fresh removes nothing under a shop that is open', async () => {
    await using shop = await ShopProcess.open({ cwd });
    await shop.client.as('acme').post('/products', { sku: 'mine', title: 'Mine', priceCents: 1 });
    const { code, stderr } = await refusal({ args: ['--fresh'] });
    expect(code).toBe(1);
    expect(stderr).toContain(String(shop.pid));
    await shop.kill('SIGKILL');
    await using again = await ShopProcess.open({ cwd });
    expect(await again.client.as('acme').get('/products/mine')).toMatchObject({ status: 200 });
  });
});

const openingLines = (port: number): string => `
Storefront  http://localhost:${port}     storage: JSON file ./data/storefront (durable, one process)
            /docs  API page${' '.repeat(String(port).length - 4)}           tenants: acme, globex     (header X-Tenant-Id)

Try, in another terminal:

  # a tenant's product, with its ETag
  curl -i localhost:${port}/products/mug -H 'X-Tenant-Id: acme'

  # 20 price rises at once: none is lost
  seq 20 | xargs -P 20 -I_ curl -s -o /dev/null -X POST localhost:${port}/products/mug/price-changes \\
    -H 'X-Tenant-Id: acme' -H 'Content-Type: application/json' -d '{"by":1}'
  curl localhost:${port}/products/mug -H 'X-Tenant-Id: acme'

More: README, "A walk through the store".   Stop: Ctrl+C.   Again from scratch: npm start -- --fresh

`;
