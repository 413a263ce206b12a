import { isPromise } from './kinds.js';

/**
 * Continues with a value, at once where it is no promise: an async function and an await for each
 * value that is at hand were a tenth of an update.
 */
export function andThen<T, R>(value: T | PromiseLike<T>, next: (value: T) => R | Promise<R>): R | Promise<R> {
  return isPromise(value) ? Promise.resolve(value).then(next) : next(value);
}
