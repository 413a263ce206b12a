import { Observable } from 'rxjs';
import { isStorageError, StorageError, titleOf } from '../../core/base/errors.js';
import { logFault } from '../http/send-problem.js';

/**
 * The items of a watch, or of another async iterable, as an observable: for `@Sse()`. Each
 * subscription iterates it once more. To unsubscribe ends the iteration at once; `from` of rxjs
 * does so only after the next item, so a quiet watch would stay open.
 *
 * An observable cannot ask for fewer items, so what its subscriber has not processed waits in
 * memory; a reader of the watch itself gets the last state. Versions of Nest that bound what waits
 * for a client of `@Sse()`: 11.2.8 and 12.2.0.
 *
 * Some versions of Nest send the message of an error to the client of `@Sse()`, where no exception
 * filter runs. So a storage error with a status from 500 on is logged, and the observable has an
 * error with its code and title alone.
 */
export const toObservable = <T>(source: AsyncIterable<T>): Observable<T> =>
  new Observable<T>((subscriber) => {
    const items = source[Symbol.asyncIterator]();
    const read = async (): Promise<void> => {
      for (let item = await items.next(); item.done !== true; item = await items.next())
        subscriber.next(item.value);
      subscriber.complete();
    };
    read().catch((error: unknown) => subscriber.error(forClients(error)));
    return () => {
      // the error of an iteration that no one reads any more
      items.return?.().catch(() => undefined);
    };
  });

function forClients(error: unknown): unknown {
  if (!isStorageError(error) || error.status < 500) return error;
  logFault(error);
  const { code, status, retryable, effect } = error;
  const title = titleOf(error);
  return new StorageError(code, title, { status, title, retryable }, {}, { effect });
}
