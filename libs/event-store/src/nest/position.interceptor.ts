import { Injectable, type CallHandler, type ExecutionContext, type NestInterceptor } from '@nestjs/common';
import {
  hasSentHeaders,
  httpDescription,
  setHeader,
  type AnyResponse,
  type HttpDescription,
} from '@kvent/key-value-storage/internal/nest';
import { catchError, concatMap, Observable } from 'rxjs';
import {
  collectPositions,
  positionHeader,
  RequestPositions,
  type CollectedPositions,
} from './request-positions.js';

/**
 * Sends the position of the last append of a request in the header `Kvent-Position`, also with an
 * error that follows the append, and for a repeat of an append that was done before. Requests that
 * append nothing have no such header, nor have those for which the secret of the seal cannot be
 * read, because their appends have taken effect. Positions are sealed: a client cannot count with
 * them what others write, and cannot make one. A client sends it back to routes with
 * `@AwaitProjection()`, and so reads its own writes.
 */
@Injectable()
export class PositionInterceptor implements NestInterceptor {
  static readonly [httpDescription]: HttpDescription = {
    headersOfWrites: { [positionHeader]: 'The position of what the request has appended.' },
  };

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    if (context.getType() !== 'http') return next.handle();
    const response = context.switchToHttp().getResponse<AnyResponse>();
    const collected: CollectedPositions = { positions: new RequestPositions() };
    const send = async (): Promise<void> => {
      const { positions, seal } = collected;
      if (seal === undefined || hasSentHeaders(response)) return;
      const value = await positions.sealedWith(seal).catch(() => '');
      if (value !== '' && !hasSentHeaders(response)) setHeader(response, positionHeader, value);
    };
    const sent = concatMap(async (value: unknown) => {
      await send();
      return value;
    });
    const failed = catchError(async (error: unknown) => {
      await send();
      throw error;
    });
    return new Observable<unknown>((subscriber) =>
      collectPositions(collected, () => next.handle().pipe(sent, failed).subscribe(subscriber)),
    );
  }
}
