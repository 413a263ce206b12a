import { isPromise } from './kinds.js';

/**
 * Continues with a value, at once where it is no promise: an async function, and an await for each
 * value that is at hand, cost an update in memory several per cent.
 */
export function andThen<T, R>(value: T | PromiseLike<T>, next: (value: T) => R | Promise<R>): R | Promise<R> {
  return isPromise(value) ? Promise.resolve(value).then(next) : next(value);
}
