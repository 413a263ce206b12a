import { Injectable, type CallHandler, type ExecutionContext, type NestInterceptor } from '@nestjs/common';
import {
  hasSentHeaders,
  httpDescription,
  setHeader,
  type AnyResponse,
  type HttpDescription,
} from '@kvent/key-value-storage/internal/nest';
import { Observable, tap } from 'rxjs';
import { collectPositions, positionHeader, RequestPositions } from './request-positions.js';

/**
 * Sends the position of the last append of a request in the header `Kvent-Position`, also with an
 * error that follows the append, and for a repeat of an append that was done before. Requests that
 * append nothing have no such header. A client sends it back to routes with `@AwaitProjection()`,
 * and so reads its own writes.
 */
@Injectable()
export class PositionInterceptor implements NestInterceptor {
  static readonly [httpDescription]: HttpDescription = {
    headersOfWrites: { [positionHeader]: 'The position of what the request has appended.' },
  };

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    if (context.getType() !== 'http') return next.handle();
    const response = context.switchToHttp().getResponse<AnyResponse>();
    const positions = new RequestPositions();
    const send = (): void => {
      const value = positions.toString();
      if (value !== '' && !hasSentHeaders(response)) setHeader(response, positionHeader, value);
    };
    return new Observable<unknown>((subscriber) =>
      collectPositions(positions, () =>
        next
          .handle()
          .pipe(tap({ next: send, error: send }))
          .subscribe(subscriber),
      ),
    );
  }
}
