import { Injectable, type BeforeApplicationShutdown } from '@nestjs/common';
import type { NextFunction, Request, Response } from 'express';

/**
 * A connection that is used without a pause would keep a closing server open for ever: Node ends only those that rest. So once the shop closes,
 * each answer is the last one of its connection.
 */
@Injectable()
export class LastAnswers implements BeforeApplicationShutdown {
  #closing = false;

  beforeApplicationShutdown(): void {
    this.#closing = true;
  }

  use(_request: Request, response: Response, next: NextFunction): void {
    if (this.#closing) response.setHeader('Connection', 'close');
    next();
  }
}
