import type { NextFunction, NodeRequest, NodeResponse } from './exchange.js';

/** Settles when the last response of a connection has been sent. */
const lastResponses = new WeakMap<object, Promise<void>>();

/**
 * Node handles pipelined requests concurrently, and buffers their responses until the client reads
 * them. Here each request waits for the response before it, so a connection whose client does not
 * read buffers one response.
 */
export function oneAtATime({ socket }: NodeRequest, response: NodeResponse, next: NextFunction): void {
  const before = lastResponses.get(socket);
  lastResponses.set(socket, new Promise((resolve) => response.once('close', resolve)));
  if (before === undefined) return next();
  void before.then(() => {
    if (!socket.destroyed) next();
  });
}
