/**
 * The result of a callback; `undefined` if it throws. An observer must not break what it observes.
 */
export function safely<R>(callback: () => R): R | undefined {
  try {
    return callback();
  } catch {
    return undefined;
  }
}
