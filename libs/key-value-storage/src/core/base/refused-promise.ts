import { invalidOption } from './options.js';

/**
 * `INVALID_OPTION` for the promise of a function of the caller that must return at once. Its
 * rejection is handled here, because nothing awaits it.
 */
export function refusedPromise(what: string, promise: PromiseLike<unknown>): Error {
  promise.then(undefined, () => undefined);
  return invalidOption(
    `${what} must not be asynchronous: its promise is not awaited. Await what it needs before.`,
  );
}
