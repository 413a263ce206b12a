/** Applications of specs on both HTTP adapters of Nest. */
import type { INestApplication } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export const httpAdapters = Object.entries({
  Express: () => new ExpressAdapter(),
  Fastify: () => new FastifyAdapter(),
});

/** Listens on a free port of this machine, and returns the address. */
export async function listen(app: INestApplication): Promise<string> {
  const server = (await app.listen(0, '127.0.0.1')) as Server;
  // Node closes connections that were idle for five seconds. A request sent at that moment would
  // fail.
  server.keepAliveTimeout = 0;
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
