/** An application of a test on a free port of this machine. */
import type { INestApplication } from '@nestjs/common';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Returns the port. */
export async function listen(app: INestApplication): Promise<number> {
  const server = (await app.listen(0, '127.0.0.1')) as Server;
  // Node closes connections that were idle for five seconds. A request sent at that moment would
  // fail.
  server.keepAliveTimeout = 0;
  return (server.address() as AddressInfo).port;
}
