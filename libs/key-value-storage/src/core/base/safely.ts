import { isPromise } from './kinds.js';

/**
 * The result of a callback; `undefined` if it throws. An observer must not break what it observes:
 * where it is asynchronous, its rejection is ignored too.
 */
export function safely<R>(callback: () => R): R | undefined {
  try {
    const result = callback();
    if (isPromise<unknown>(result)) result.then(undefined, () => undefined);
    return result;
  } catch {
    return undefined;
  }
}
