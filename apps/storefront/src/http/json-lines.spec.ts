import { Controller, Get, Param, type INestApplication, type StreamableFile } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createAdapter } from './adapter.js';
import { jsonLines } from './json-lines.js';

let made = 0;
let ended: () => void = () => undefined;
const line = 'x'.repeat(1_000);
/** More than all buffers on the way to a client hold. */
const linesMax = 100_000;

async function* linesOf(name: string): AsyncGenerator<string> {
  made = 0;
  try {
    while (name !== 'none') {
      if (name === 'broken' || (name === 'half' && made === 50)) throw new Error('The source has failed.');
      if (made === linesMax) throw new Error('The client was not awaited.');
      made += 1;
      yield line;
      if (name === 'three' && made === 3) return;
      // as a storage, which reads in between
      if (made % 100 === 0) await new Promise(setImmediate);
    }
  } finally {
    ended();
  }
}

@Controller()
class Lines {
  @Get(':name')
  lines(@Param('name') name: string): Promise<StreamableFile> {
    return jsonLines(linesOf(name));
  }
}

describe.each(['express', 'fastify'] as const)('JSON lines on %s', (framework) => {
  let app: INestApplication;
  let url: string;
  beforeAll(async () => {
    const module = await Test.createTestingModule({ controllers: [Lines] }).compile();
    app = module.createNestApplication(await createAdapter(framework), { logger: false });
    await app.listen(0, '127.0.0.1');
    url = await app.getUrl();
  });
  afterAll(() => app.close());

  it.each([
    ['three', 3],
    ['none', 0],
  ])('are a line for each item: %s', async (name, count) => {
    const response = await fetch(`${url}/${name}`);
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/x-ndjson']);
    expect(await response.text()).toBe(`${JSON.stringify(line)}\n`.repeat(count));
  });

  it('are an error of the route where the first item fails, and end without an end where a later one does', async () => {
    expect((await fetch(`${url}/broken`)).status).toBe(500);
    const response = await fetch(`${url}/half`);
    expect(response.status).toBe(200);
    await expect(response.text()).rejects.toThrow();
  });

  it('wait for a client that does not read, and their source ends when it goes away', async () => {
    const end = new Promise<void>((resolve) => (ended = resolve));
    const client = new AbortController();
    const response = await fetch(`${url}/endless`, { signal: client.signal });
    expect(response.status).toBe(200);
    for (let before = -1, same = 0; same < 20; before = made) {
      same = before === made ? same + 1 : 0;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(made).toBeLessThan(linesMax);
    client.abort();
    await end;
  });
});
