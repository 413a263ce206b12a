import { Agent, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, type INestApplication } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { createAdapter } from './adapter.js';
import { CloseOnShutdown } from './close-on-shutdown.js';

let arrive: () => void;
let release: () => void;
let arrived: Promise<void>;
let released: Promise<void>;

@Controller()
class SlowController {
  @Get()
  async get(): Promise<string> {
    arrive();
    await released;
    return 'the response';
  }
}

describe.each(['express', 'fastify'] as const)('A server on %s that closes', (framework) => {
  const agent = new Agent({ keepAlive: true });
  let app: INestApplication;
  beforeEach(async () => {
    arrived = new Promise((resolve) => (arrive = resolve));
    released = new Promise((resolve) => (release = resolve));
    const module = await Test.createTestingModule({
      controllers: [SlowController],
      providers: [CloseOnShutdown],
    }).compile();
    app = module.createNestApplication(await createAdapter(framework), { logger: false });
    const closeOnShutdown = app.get(CloseOnShutdown);
    app.use(closeOnShutdown.use.bind(closeOnShutdown));
    await app.listen(0);
  });
  afterEach(() => agent.destroy());

  it('ends the request in progress, and does not keep its connection until keepAliveTimeout', async () => {
    const server = app.getHttpServer() as Server;
    // longer than the time limit of the test
    server.keepAliveTimeout = 3_600_000;
    const body = new Promise<string>((resolve, reject) => {
      const outgoing = request({ port: (server.address() as AddressInfo).port, agent }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () => resolve(text));
      });
      outgoing.on('error', reject).end();
    });
    await arrived;
    const closing = app.close();
    // the server has begun to close when it accepts no connection
    while (server.listening) await new Promise((resolve) => setImmediate(resolve));
    release();
    expect(await body).toBe('the response');
    await closing;
  });
});
