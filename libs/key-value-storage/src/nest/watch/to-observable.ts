import { Observable } from 'rxjs';

/**
 * The items of a watch, or of another async iterable, as an observable: for `@Sse()`. Each
 * subscription iterates it once more. To unsubscribe ends the iteration at once; `from` of rxjs
 * does so only after the next item, so a quiet watch would stay open.
 *
 * An observable cannot ask for fewer items, so what its subscriber has not processed waits in
 * memory; a reader of the watch itself gets the last state. Versions of Nest that bound what waits
 * for a client of `@Sse()`: 11.2.8 and 12.2.0.
 */
export const toObservable = <T>(source: AsyncIterable<T>): Observable<T> =>
  new Observable<T>((subscriber) => {
    const items = source[Symbol.asyncIterator]();
    const read = async (): Promise<void> => {
      for (let item = await items.next(); item.done !== true; item = await items.next())
        subscriber.next(item.value);
      subscriber.complete();
    };
    read().catch((error: unknown) => subscriber.error(error));
    return () => {
      // the error of an iteration that no one reads any more
      items.return?.().catch(() => undefined);
    };
  });
