import { once } from 'node:events';
import { request as send, type IncomingMessage } from 'node:http';
import { Controller, Param, Post, Req, type INestApplication } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createAdapter } from './adapter.js';
import { nodeRequestOf, type NodeRequest } from './exchange.js';
import { jsonLinesType } from './json-lines.js';
import { linesOf } from './lines-of.js';

let hold: Promise<void> = Promise.resolve();
/** Gets what becomes of the reading. */
let onBegin: (failure: { readonly of: Promise<unknown> }) => void = () => undefined;

@Controller()
class Uploads {
  @Post(':what')
  async read(@Param('what') what: string, @Req() request: NodeRequest | { readonly raw: NodeRequest }) {
    const lines: string[] = [];
    const reading = (async () => {
      for await (const line of linesOf(nodeRequestOf(request))) {
        lines.push(line);
        if (what === 'held') await hold;
        if (what === 'first') break;
      }
    })();
    const of = reading.then(
      () => undefined,
      (error: unknown) => error,
    );
    onBegin({ of });
    await reading;
    return what === 'held' ? { count: lines.length } : { lines };
  }
}

describe.each(['express', 'fastify'] as const)('The lines of a body, on %s,', (framework) => {
  let app: INestApplication;
  let url: string;
  beforeAll(async () => {
    const module = await Test.createTestingModule({ controllers: [Uploads] }).compile();
    app = module.createNestApplication(await createAdapter(framework), { logger: false });
    await app.listen(0, '127.0.0.1');
    url = await app.getUrl();
  });
  afterAll(() => app.close());

  const post = async (what: string, body: string | ReadableStream<Uint8Array>): Promise<unknown> => {
    const init = { method: 'POST', headers: { 'Content-Type': jsonLinesType }, body, duplex: 'half' };
    return await (await fetch(`${url}/${what}`, init as RequestInit)).json();
  };
  const inParts = (bytes: Uint8Array, length: number): ReadableStream<Uint8Array> =>
    new ReadableStream({
      start(sink) {
        for (let from = 0; from < bytes.length; from += length)
          sink.enqueue(bytes.subarray(from, from + length));
        sink.close();
      },
    });

  it.each([
    ['', []],
    ['one', ['one']],
    ['one\ntwo\n', ['one', 'two']],
    ['\n\n', ['', '']],
    ['one\r\n', ['one\r']],
    ['\uFEFFTäßchen ☕\n🍵', ['Täßchen ☕', '🍵']],
  ])('of %j', async (text, lines) => {
    expect(await post('all', text)).toEqual({ lines });
    expect(await post('all', inParts(new TextEncoder().encode(text), 1))).toEqual({ lines });
  });

  it('may be left unread, and the client gets its response', async () => {
    const long = `${'x'.repeat(1_000)}\n`.repeat(10_000);
    for (let times = 0; times < 3; times += 1)
      expect(await post('first', `${times}\n${long}`)).toEqual({ lines: [`${times}`] });
  });

  it('are taken to their end for a client that reads its response after that', async () => {
    const client = send(`${url}/first`, { method: 'POST', headers: { 'Content-Type': jsonLinesType } });
    const response = once(client, 'response');
    await new Promise<void>((resolve) => client.end(`one\n${'x'.repeat(20_000_000)}`, resolve));
    const [{ statusCode }] = (await response) as [IncomingMessage];
    client.destroy();
    expect(statusCode).toBe(201);
  });

  it('are 413 if one is too long, whole or not', async () => {
    for (const body of ['x'.repeat(10_000_000), `${'x'.repeat(200_000)}\n`.repeat(50)])
      expect(await post('all', body)).toMatchObject({ statusCode: 413 });
    const fits = 'x'.repeat(100_000);
    expect(await post('all', `${fits}\n${fits}`)).toEqual({ lines: [fits, fits] });
  });

  it('are sent no faster than they are used', async () => {
    let release: () => void = () => undefined;
    hold = new Promise((resolve) => (release = resolve));
    const linesMax = 50_000;
    let sent = 0;
    const body = new ReadableStream<Uint8Array>({
      async pull(sink) {
        // as a file, which is read in between
        await new Promise(setImmediate);
        for (let lines = 0; lines < 100; lines += 1, sent += 1)
          sink.enqueue(new TextEncoder().encode(`${'x'.repeat(1_000)}\n`));
        if (sent === linesMax) sink.close();
      },
    });
    const response = post('held', body);
    for (let before = -1, same = 0; same < 20; before = sent) {
      same = before === sent ? same + 1 : 0;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(sent).toBeLessThan(linesMax);
    release();
    expect(await response).toEqual({ count: linesMax });
  });

  it('end with an error of the client where it leaves before their end', async () => {
    const client = send(`${url}/all`, { method: 'POST', headers: { 'Content-Type': jsonLinesType } });
    client.on('error', () => undefined);
    const begun = new Promise<{ readonly of: Promise<unknown> }>((resolve) => (onBegin = resolve));
    client.write('one\n');
    const failure = await begun;
    client.destroy();
    expect(await failure.of).toMatchObject({ status: 400 });
  });
});
