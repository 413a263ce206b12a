import type { Server } from 'node:http';
import { Injectable, type BeforeApplicationShutdown } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { NextFunction, NodeRequest, NodeResponse } from './exchange.js';

/**
 * A closing server waits for its connections, and Node ends only those that are idle at that time.
 * So during the shutdown each response has `Connection: close`, and connections with a request in
 * progress end after the response, not after `keepAliveTimeout`.
 */
@Injectable()
export class CloseOnShutdown implements BeforeApplicationShutdown {
  readonly #adapter: HttpAdapterHost;
  #closing = false;

  constructor(adapter: HttpAdapterHost) {
    this.#adapter = adapter;
  }

  beforeApplicationShutdown(): void {
    this.#closing = true;
    // Node reads it after a response; 0 would mean no limit
    (this.#adapter.httpAdapter.getHttpServer() as Server).keepAliveTimeout = 1;
  }

  use(_request: NodeRequest, response: NodeResponse, next: NextFunction): void {
    if (this.#closing) response.setHeader('Connection', 'close');
    next();
  }
}
