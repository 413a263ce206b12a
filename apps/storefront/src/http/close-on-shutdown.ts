import type { Server } from 'node:http';
import { Injectable, type BeforeApplicationShutdown } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { NextFunction, Request, Response } from 'express';

/**
 * A closing server waits for its connections: Node ends those that are idle at that moment, and no
 * other. So once the shop closes, each request that comes is answered with `Connection: close`, and
 * a connection whose request was there already ends as soon as that is answered, not after
 * `keepAliveTimeout`.
 */
@Injectable()
export class LastAnswers implements BeforeApplicationShutdown {
  readonly #adapter: HttpAdapterHost;
  #closing = false;

  constructor(adapter: HttpAdapterHost) {
    this.#adapter = adapter;
  }

  beforeApplicationShutdown(): void {
    this.#closing = true;
    // Node reads it when an answer is finished; 0 would mean for ever
    (this.#adapter.httpAdapter.getHttpServer() as Server).keepAliveTimeout = 1;
  }

  use(_request: Request, response: Response, next: NextFunction): void {
    if (this.#closing) response.setHeader('Connection', 'close');
    next();
  }
}
