import type { NextFunction, Request, Response } from 'express';

/** When the last answer of a connection has been sent. */
const lastAnswers = new WeakMap<object, Promise<void>>();

/**
 * Node handles all requests that a client has pipelined, and keeps their answers in memory until
 * they are read. Here each waits until the answer before it is sent, so a connection that nobody
 * reads holds one answer.
 */
export function oneAtATime({ socket }: Request, response: Response, next: NextFunction): void {
  const before = lastAnswers.get(socket);
  lastAnswers.set(socket, new Promise((resolve) => response.once('close', resolve)));
  if (before === undefined) return next();
  void before.then(() => {
    if (!socket.destroyed) next();
  });
}
